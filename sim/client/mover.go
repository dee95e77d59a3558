package client

import "github.com/twmb/franz-go/pkg/kmsg"

// Mover moves a partition from broker to broker when it is told to.
type Mover struct {
	session
	part *Partition
	to   int32 // the broker that it is asked for; 0: none
}

// NewMover makes a mover of a partition; Start starts it.
func NewMover(c *Cluster, client int, part *Partition) *Mover {
	m := &Mover{part: part}
	m.init(c, client, m)
	return m
}

// Start connects.
func (m *Mover) Start() { m.connect() }

// Stop ends the client.
func (m *Mover) Stop() { m.stop() }

// Move asks for a leader until the controller has agreed.
func (m *Mover) Move(to int32) {
	m.to = to
	if m.up {
		m.ask()
	}
}

// Idle reports whether the controller has agreed to the last move.
func (m *Mover) Idle() bool { return m.to == 0 }

func (m *Mover) sessionUp() {
	if m.to != 0 {
		m.ask()
	}
}

func (m *Mover) ask() {
	m.request(reassignment(m.part.Topic.Name, m.part.Index, []int32{m.to}), func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.AlterPartitionAssignmentsResponse)
		if v.ErrorCode != 0 || len(v.Topics) != 1 || v.Topics[0].Partitions[0].ErrorCode != 0 {
			m.after(backoffMax, m.sessionUp)
			return
		}
		m.to = 0
	})
}
