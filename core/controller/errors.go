package controller

import (
	"errors"
	"fmt"

	"weir/core/config"
	"weir/core/metadata"
)

// Error carries a Kafka error code and a message for people.
type Error struct {
	Code    int16
	Message string
}

func (e *Error) Error() string { return e.Message }

// Error codes, by Kafka's names.
const (
	codeUnknownTopicOrPartition  = 3
	codeInvalidTopic             = 17
	codeTopicAlreadyExists       = 36
	codeInvalidPartitions        = 37
	codeInvalidReplicationFactor = 38
	codeInvalidReplicaAssignment = 39
	codeInvalidConfig            = 40
	codeNotController            = 41
	codeInvalidRequest           = 42
	codeUnknownTopicID           = 100
)

func refuse(code int16, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// kafka gives an error its Kafka code. What is neither Kafka's nor the image's
// verdict means that nothing was decided: clients ask again (NOT_CONTROLLER).
func kafka(err error) error {
	err = verdict(err)
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return refuse(codeNotController, "%v", err)
}

// verdict gives an error its Kafka code if something was decided.
func verdict(err error) error {
	switch {
	case errors.Is(err, metadata.ErrTopicExists):
		return refuse(codeTopicAlreadyExists, "%v", err)
	case errors.Is(err, metadata.ErrTopicCollides):
		return refuse(codeInvalidTopic, "%v", err)
	case errors.Is(err, metadata.ErrUnknownTopic):
		return refuse(codeUnknownTopicID, "This server does not host this topic ID.")
	case errors.Is(err, metadata.ErrUnknownStream):
		return unknownTopic()
	case errors.Is(err, metadata.ErrMalformed), errors.Is(err, config.ErrInvalidOp):
		return refuse(codeInvalidRequest, "%v", err)
	case errors.Is(err, config.ErrInvalidConfig):
		return refuse(codeInvalidConfig, "%v", err)
	}
	return err
}

func unknownTopic() error {
	return refuse(codeUnknownTopicOrPartition, "This server does not host this topic-partition.")
}
