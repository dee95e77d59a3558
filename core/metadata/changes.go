package metadata

// Changes is what records changed since it was last taken.
type Changes struct {
	// All: too much to name; the image is new.
	All bool
	// Topics that came or went, or whose partitions or configuration changed; some may come twice.
	Topics []TopicID
	// Streams that changed or are gone; some may come twice.
	Streams []StreamID
}

// changesMax is how many streams or topics are named before it is all of them.
const changesMax = 64 << 10

// TakeChanges returns what changed since the last call, so that users of the image
// need not scan all of it after every record. The first call says All.
func (im *Image) TakeChanges() Changes {
	taken := im.changes
	im.changes = Changes{}
	return taken
}

// topicChanged notes that a topic is no longer what it was.
func (im *Image) topicChanged(id TopicID) {
	c := &im.changes
	switch n := len(c.Topics); {
	case c.All, n > 0 && c.Topics[n-1] == id:
	case n >= changesMax:
		*c = Changes{All: true}
	default:
		c.Topics = append(c.Topics, id)
	}
}

// changed notes that a stream is no longer what it was.
func (im *Image) changed(id StreamID) {
	c := &im.changes
	switch {
	case c.All:
	case len(c.Streams) >= changesMax:
		*c = Changes{All: true}
	default:
		c.Streams = append(c.Streams, id)
	}
}
