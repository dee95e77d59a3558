package client

// giveUp abandons batches that waited too long.
func (p *Producer) giveUp() {
	if p.options.GiveUp == 0 || !p.options.Idempotent || p.producerID < 0 {
		return
	}
	late := false
	for _, part := range p.parts {
		late = late || len(part.queue) > 0 && p.Queue.Now().Sub(part.queue[0].created) > p.options.GiveUp
	}
	if late {
		p.nextEpoch()
	}
}

// nextEpoch abandons what was sent: it stays open for ever, and the producer goes on with a
// higher epoch, from sequence 0, on a new connection. What it had sent may still arrive.
func (p *Producer) nextEpoch() {
	for _, part := range p.parts {
		kept := part.queue[:0]
		for _, b := range part.queue {
			if !b.ever {
				kept = append(kept, b)
			}
		}
		part.queue = kept
	}
	p.epoch++
	p.newSession(0)
	p.drop()
}
