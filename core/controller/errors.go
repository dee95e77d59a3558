package controller

import (
	"errors"
	"fmt"

	"weir/core/config"
	"weir/core/metadata"
	"weir/core/wire"
)

// ErrWALNotRead: nobody may open the next range of a stream, since only a WAL that is not here says how far the one before reached.
var ErrWALNotRead = errors.New("WAL that was not read")

// Error carries a Kafka error code and a message for people.
type Error struct {
	Code    int16
	Message string
}

func (e *Error) Error() string { return e.Message }

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
	return refuse(wire.NotController, "%v", err)
}

// verdict gives an error its Kafka code if something was decided.
func verdict(err error) error {
	switch {
	case errors.Is(err, metadata.ErrTopicExists):
		return refuse(wire.TopicAlreadyExists, "%v", err)
	case errors.Is(err, metadata.ErrTopicCollides):
		return refuse(wire.InvalidTopic, "%v", err)
	case errors.Is(err, metadata.ErrUnknownTopic):
		return refuse(wire.UnknownTopicID, "This server does not host this topic ID.")
	case errors.Is(err, metadata.ErrUnknownStream):
		return unknownTopic()
	case errors.Is(err, metadata.ErrMalformed), errors.Is(err, config.ErrInvalidOp):
		return refuse(wire.InvalidRequest, "%v", err)
	case errors.Is(err, config.ErrInvalidConfig):
		return refuse(wire.InvalidConfig, "%v", err)
	}
	return err
}

func unknownTopic() error {
	return refuse(wire.UnknownTopicOrPartition, "This server does not host this topic-partition.")
}
