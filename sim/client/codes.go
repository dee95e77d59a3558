package client

// Kafka's error codes that clients tell apart.
const (
	codeNotLeader   = 6
	codeTopicExists = 36
)
