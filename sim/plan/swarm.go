package plan

import (
	"fmt"
	"math"
	"time"

	"weir/sim/event"
)

// Swarm draws a seed's plan: its own subset of faults, rates, topology and
// configuration, so that what one fault hides another run shows.
//
// The fault atlas: what one broker with one copy of its WAL cannot survive is not
// drawn. No durable byte of a disk is damaged; reads of a disk fail only for a
// while; the disks of metadata and WAL fail loudly or not at all.
func Swarm(seed uint64) *Plan {
	s := &swarm{rand: event.SeedRand(seed)}
	p := &Plan{}
	s.config(&p.Config)
	s.tuning(&p.Config)
	s.topics(p)
	s.workloads(p)
	s.coordinated(p)
	s.compacted(p)
	s.faults(p)
	return p
}

type swarm struct{ rand event.Rand }

// pick draws one of a list.
func pick[T any](d *event.Stream, from ...T) T { return from[d.Below(int64(len(from)))] }

func (s *swarm) config(c *Config) {
	d := s.rand.Stream("plan config", 0)
	c.Duration = d.Duration(4*time.Second, 20*time.Second)
	c.WALBytes = pick[int64](&d, 1<<20, 2<<20, 4<<20, 16<<20)
	c.CacheBytes = pick[int64](&d, 1<<20, 2<<20, 4<<20, 16<<20)
	c.BlockCacheBytes = pick[int64](&d, 256<<10, 1<<20, 8<<20)
	c.UploadBytes = pick[int64](&d, 16<<10, 64<<10, 256<<10, 1<<20)
	c.UploadInterval = pick(&d, 100*time.Millisecond, 400*time.Millisecond, time.Second, 5*time.Second)
	c.FrameBudget = pick[int64](&d, 4<<20, 16<<20, 64<<20)
	c.FetchSessions = pick[int64](&d, 1, 2, 100)
	c.BlockBytes = pick[int64](&d, 512, 4096)
	c.DriftPPM = d.Between(-300, 300)
	c.TurnCost = pick(&d, time.Microsecond, 5*time.Microsecond, 40*time.Microsecond, 400*time.Microsecond)
	c.ComputeSlow = pick[int64](&d, 1000, 1000, 20_000)
	c.Restarts = d.Between(1, 2)
}

// tuning makes small, in some seeds, what is large in production.
func (s *swarm) tuning(c *Config) {
	d := s.rand.Stream("plan tuning", 0)
	c.MessageBytes = pick[int64](&d, 0, 0, 64<<10, 10<<10)
	c.SummaryBytes = pick[int64](&d, 0, 16<<10, 64<<10, 200<<10)
	c.SnapshotEntries = pick[int64](&d, 0, 5, 20, 100)
	c.RecordBytes = pick[int64](&d, 0, 0, 300, 2000)
	c.Uploads = pick[int64](&d, 0, 1, 2, 8)
	c.DataBlockBytes = pick[int64](&d, 0, 1<<10, 8<<10, 64<<10)
	c.OwnObjectBytes = pick[int64](&d, 0, 0, 8<<10, 50<<10)
	c.TailBytes = pick[int64](&d, 0, 0, 20<<10)
	c.Grace = pick(&d, 0, 100*time.Millisecond, 2*time.Second)
	c.Listing = pick(&d, 0, 300*time.Millisecond, 3*time.Second)
	c.Housekeeping = pick(&d, 0, 300*time.Millisecond)
	c.ProducerIdle = pick(&d, 0, 0, 0, 40*time.Second)
	c.ProducerIDs = pick[int64](&d, 0, 1, 3)
	c.ListPage = pick[int64](&d, 0, 1, 3)
	few := s.rand.Stream("plan producers", 0)
	c.Producers = pick[int64](&few, 0, 0, 0, 0, 1, 2, 6)
	if c.ProducerIdle > 0 {
		c.ComeBack = c.ProducerIdle + 6*time.Second // a round of housekeeping more
	}
	commits := s.rand.Stream("plan commits", 0)
	c.QueueBytes = pick[int64](&commits, 0, 0, 500, 3000)
	c.CheckpointBytes = pick[int64](&commits, 0, 0, 200, 2000)
	inline := s.rand.Stream("plan stored checkpoints", 0)
	c.InlineBytes = pick[int64](&inline, 0, 0, 1, 1, 80, 400)
	backlog := s.rand.Stream("plan backlog", 0)
	c.BacklogEntries = pick[int64](&backlog, 0, 0, 0, 2, 5)
	switch room := s.rand.Stream("plan volume", 0); room.Below(8) {
	case 0, 1:
		c.VolumeBytes = pick[int64](&room, 12<<20, 16<<20, 24<<20) // half of it is kept for the metadata
	case 2:
		c.WALDiskBytes = 1<<20 + c.WALBytes*pick[int64](&room, 3, 5, 8)/4 // of one log, or of two
	}
	compact := s.rand.Stream("plan compaction", 0)
	c.CompactParts = pick[int64](&compact, 2, 3, 4, 6)
	c.JoinParts = pick[int64](&compact, 2, 3)
	c.CompactBytes = pick[int64](&compact, 16<<10, 100<<10, 1<<20)
	c.JoinBytes = pick[int64](&compact, 1, 4<<10, 32<<10)
	c.ObjectBytes = pick[int64](&compact, 256<<10, 2<<20, 0)
	c.CompactEvery = pick(&compact, 300*time.Millisecond, 2*time.Second)
	c.SparseAge = pick(&compact, time.Second, 5*time.Second, 0)
	c.SparseBytes = pick[int64](&compact, 16<<10, 64<<10)
	c.CompactRate = pick[int64](&compact, 0, 0, 2<<20)
	if c.WALDiskBytes+c.VolumeBytes > 0 {
		c.MessageBytes = pick[int64](&d, 64<<10, 10<<10) // the log may shrink to 256 KiB, and then takes no larger ones
		// On a small volume a log may not grow until the one before it is uploaded, a piece at a time.
		c.UploadBytes = max(c.UploadBytes, c.WALBytes/128)
		if c.TailBytes > 0 {
			c.TailBytes = max(c.TailBytes, c.WALBytes/128)
		}
	}
	shared := s.rand.Stream("plan shared wal", 0)
	c.WALShared = pick[int64](&shared, 0, 0, 0, 1)
	ship := s.rand.Stream("plan shipping", 0)
	c.ShipAsync = pick[int64](&ship, 0, 0, 0, 1)
	s.objectLog(c)
}

// objectLog puts the WAL into the object store, in a third of the plans: in half of those at every other start only.
func (s *swarm) objectLog(c *Config) {
	d := s.rand.Stream("plan object wal", 0)
	c.WALObject = pick[int64](&d, 0, 0, 0, 0, 1, 2)
	if c.WALObject == 0 {
		return
	}
	c.WALObjectBytes = pick[int64](&d, 4<<10, 16<<10, 64<<10, 256<<10)
	c.WALCreates = pick[int64](&d, 1, 2, 4, 16)
	c.WALLingerMax = pick(&d, time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)
	c.WALLingerMin = pick(&d, 0, time.Millisecond, 10*time.Millisecond)
	c.WALLingerBurst = pick[int64](&d, 1, 2, 8)
}

func (s *swarm) topics(p *Plan) {
	d := s.rand.Stream("plan topics", 0)
	for i := range d.Between(1, 3) {
		t := Topic{Name: fmt.Sprintf("t%d", i), Partitions: d.Between(1, 4)}
		if d.PerMille(150) {
			t.RetentionBytes = d.Between(20<<10, 200<<10)
		}
		if each := s.rand.Stream("plan topic", uint64(i)); each.PerMille(150) {
			t.Retention = each.Duration(200*time.Millisecond, 10*time.Second)
		}
		if untimed := s.rand.Stream("plan untimed", uint64(i)); untimed.PerMille(150) {
			t.Untimed = 1
		}
		p.Topics = append(p.Topics, t)
	}
}

func (s *swarm) workloads(p *Plan) {
	d := s.rand.Stream("plan workloads", 0)
	client := int64(0)
	add := func(n int64, make func(w *Workload, d *event.Stream)) {
		for range n {
			w := Workload{Client: client}
			each := s.rand.Stream("plan workload", uint64(client))
			if each.PerMille(300) {
				w.Lag = each.Between(0, 1000)
			}
			place := s.rand.Stream("plan zone", uint64(client))
			w.Zone = place.Below(2)
			make(&w, &each)
			sizes := s.rand.Stream("plan sizes", uint64(client))
			if w.Kind == "producer" {
				w.Huge = pick[int64](&sizes, 0, 0, 5, 30)
				w.Excess = pick[int64](&sizes, 0, 0, 20)
			}
			if poison := s.rand.Stream("plan poison", uint64(client)); w.Kind == "producer" {
				w.Poison = pick[int64](&poison, 0, 0, 50, 200)
			}
			rare := s.rand.Stream("plan rare", uint64(client))
			seldom(&w, &rare)
			p.Workloads = append(p.Workloads, w)
			client++
		}
	}
	add(d.Between(1, 3), idempotentProducer)
	add(d.Between(0, 2), plainProducer)
	add(d.Between(1, 3), consumer)
	add(pick[int64](&d, 0, 0, 1), func(w *Workload, d *event.Stream) {
		w.Kind, w.Pause = "churn", d.Duration(200*time.Millisecond, 2*time.Second)
	})
	add(pick[int64](&d, 0, 0, 1), func(w *Workload, d *event.Stream) {
		w.Kind, w.Pause = "trimmer", d.Duration(100*time.Millisecond, 2*time.Second)
	})
	add(pick[int64](&d, 0, 0, 1), func(w *Workload, d *event.Stream) {
		w.Kind, w.Pause = "operator", d.Duration(50*time.Millisecond, time.Second)
	})
	add(pick[int64](&d, 0, 1), func(w *Workload, d *event.Stream) {
		w.Kind, w.Pause = "breaker", d.Duration(10*time.Millisecond, 500*time.Millisecond)
	})
}

// coordinated adds groups and transactions, to all but a tenth of the plans.
func (s *swarm) coordinated(p *Plan) {
	d := s.rand.Stream("plan coordinated", 0)
	if d.PerMille(100) {
		return
	}
	c := &p.Config
	c.CleanBytes = pick[int64](&d, 2<<10, 10<<10, 50<<10)
	c.GroupPartitions, c.TxnPartitions = d.Between(1, 3), d.Between(1, 3)
	c.RebalanceDelay = pick(&d, 0, 0, 300*time.Millisecond, 2*time.Second)
	c.OffsetsRetention = pick(&d, 0, 0, 0, time.Minute)
	if soon := s.rand.Stream("plan retention", 0); c.OffsetsRetention > 0 {
		c.OffsetsRetention = pick(&soon, time.Minute, 2*time.Second, 5*time.Second)
	}
	expiration := s.rand.Stream("plan expiration", 0)
	c.TxnIDExpiration = pick(&expiration, 0, 0, 0, time.Second, 4*time.Second)
	c.AddRetry = pick(&d, 0, 100*time.Millisecond, time.Second)
	c.GroupSession = pick(&d, time.Second, 3*time.Second)
	c.AssignmentInterval = pick(&d, 0, 0, 500*time.Millisecond)
	epochs := s.rand.Stream("plan epochs", 0)
	c.FirstEpoch = pick[int64](&epochs, 0, 0, 32_700, 32_760, 32_765, 32_766)
	generations := s.rand.Stream("plan generations", 0)
	c.FirstGeneration = pick[int64](&generations, 0, 0, 0, math.MaxInt16-3, math.MaxUint16-3, math.MaxInt32-1000) // a run has fewer than 1,000
	client := int64(len(p.Workloads))
	add := func(n int64, make func(w *Workload, d *event.Stream)) {
		for range n {
			w := Workload{Client: client}
			each := s.rand.Stream("plan coordinated client", uint64(client))
			if each.PerMille(300) {
				w.Lag = each.Between(0, 1000)
			}
			w.Zone = each.Below(2)
			make(&w, &each)
			p.Workloads = append(p.Workloads, w)
			client++
		}
	}
	kinds := [...]func(group int64, d *event.Stream) func(w *Workload, d *event.Stream){memberOf, pipeOf}
	for group := range d.Between(0, 2) {
		each := s.rand.Stream("plan group", uint64(group))
		add(each.Between(1, 3), kinds[each.Below(2)](group, &each))
	}
	for id := range d.Between(0, 2) {
		each := s.rand.Stream("plan transactional id", uint64(id))
		add(pick[int64](&each, 1, 1, 1, 2), transactor(id, &each))
	}
	simple := s.rand.Stream("plan committers", 0)
	add(simple.Below(2), func(w *Workload, d *event.Stream) {
		w.Kind, w.Pause, w.Timeout = "committer", pick(d, 20*time.Millisecond, 100*time.Millisecond), pick(d, time.Second, 3*time.Second)
	})
	for i := range p.Workloads {
		if readers := s.rand.Stream("plan committed", uint64(i)); p.Workloads[i].Kind == "consumer" {
			p.Workloads[i].Committed = readers.Below(2)
		}
	}
}

// compacted adds keepers of compacted topics, to every plan.
func (s *swarm) compacted(p *Plan) {
	d := s.rand.Stream("plan compacted", 0)
	c := &p.Config
	c.Producers = 0 // a keeper that a broker has no room for would wait for ever
	c.KeyObjectBytes = pick[int64](&d, 0, 1, 1<<10, 8<<10)
	c.KeyIndexBytes = pick[int64](&d, 0, 1) // the least is room for nine keys
	transacts := c.TxnPartitions > 0
	for range pick[int64](&d, 1, 1, 2) {
		w := Workload{Kind: "keeper", Client: int64(len(p.Workloads))}
		each := s.rand.Stream("plan keeper", uint64(w.Client))
		if each.PerMille(300) {
			w.Lag = each.Between(0, 1000)
		}
		w.Zone = each.Below(2)
		w.Keys, w.Records = pick[int64](&each, 1, 5, 30), pick[int64](&each, 1, 5)
		w.Deletes, w.MaxBytes = pick[int64](&each, 0, 100, 500), pick[int64](&each, 100, 2000, 1<<20)
		w.Pause = pick(&each, 20*time.Millisecond, 100*time.Millisecond, 400*time.Millisecond)
		w.Compress = pick[int64](&each, 0, 0, 0, 1, 2, 3, 4, 5)
		w.Tombstones, w.Expires = each.Below(2), pick[int64](&each, 0, 0, 1)
		if transacts {
			w.Transacts, w.Abort = each.Below(2), pick[int64](&each, 0, 200, 500)
		}
		p.Workloads = append(p.Workloads, w)
	}
}

// memberOf draws what the members of a group have in common, and then each of them.
func memberOf(group int64, common *event.Stream) func(w *Workload, d *event.Stream) {
	cooperative := common.Below(2)
	session := pick(common, time.Second, 3*time.Second)
	rebalance := pick(common, time.Second, 3*time.Second)
	protocol := pick[int64](common, 0, 0, 1, 1, 2) // classic, KIP-848, or both
	choosy := pick[int64](common, 0, 0, 1) * (1 - cooperative)
	return func(w *Workload, d *event.Stream) {
		w.Kind, w.Group, w.Cooperative = "member", group, cooperative
		w.Session, w.Rebalance, w.Heartbeat = session, rebalance, pick(d, 100*time.Millisecond, session/4)
		w.Pause = pick(d, 20*time.Millisecond, 200*time.Millisecond)
		if w.Consumer = protocol; protocol == 2 {
			w.Consumer = d.Below(2)
		}
		if w.Static = pick[int64](d, 0, 0, 1); cooperative != 0 {
			w.Static = 0 // one that is started anew while it should revoke a partition leaves it without an owner, also in Kafka
		}
		w.Leave, w.Die, w.Freeze = pick[int64](d, 0, 20), pick[int64](d, 0, 20), pick[int64](d, 0, 0, 40)
		w.Committed, w.Unstable = d.Below(2), pick[int64](d, 0, 0, 1)
		w.Choosy = choosy
		if w.Mute, w.Quit = pick[int64](d, 0, 0, 50, 200), pick[int64](d, 0, 0, 200); w.Consumer != 0 {
			w.Expression, w.Old, w.Choosy = pick[int64](d, 0, 0, 1), pick[int64](d, 0, 200), 0
			w.Slow = pick[int64](d, 0, 300)
		}
		w.Large = pick[int64](d, 0, 0, 50)
	}
}

// pipeOf draws the pipes of a group.
func pipeOf(group int64, common *event.Stream) func(w *Workload, d *event.Stream) {
	member, transacts := memberOf(group, common), transactor(0, common)
	return func(w *Workload, d *event.Stream) {
		transacts(w, d)
		die := w.Die
		member(w, d)
		w.Kind, w.ID, w.Die, w.Committed, w.Unstable = "pipe", 100+w.Client, max(die, w.Die), 1, 0
	}
}

// transactor draws transactors of one transactional id.
func transactor(id int64, common *event.Stream) func(w *Workload, d *event.Stream) {
	first := pick[int64](common, 0, 0, 1)
	return func(w *Workload, d *event.Stream) {
		w.Kind, w.ID, w.First = "transactor", id, first
		w.Timeout = pick(d, time.Second, 3*time.Second, 10*time.Second)
		w.Pause = pick(d, 50*time.Millisecond, 300*time.Millisecond)
		w.Records, w.Spread = pick[int64](d, 1, 5, 20), d.Between(1, 4)
		w.Abort, w.Stall, w.Die = pick[int64](d, 0, 100, 400), pick[int64](d, 0, 30), pick[int64](d, 0, 30, 100)
		w.Late = pick[int64](d, 0, 50, 300)
		w.Doom = pick[int64](d, 0, 0, 1)
		w.Empty = pick[int64](d, 0, 0, 200)
	}
}

// seldom draws what only some clients do.
func seldom(w *Workload, d *event.Stream) {
	switch w.Kind {
	case "producer":
		w.Mixed = pick[int64](d, 0, 0, 500, 20_000)
		if acks := pick[int64](d, 0, 0, 1, 2); w.Idempotent == 0 {
			w.Acks = acks
		}
		if w.Acks == 2 {
			w.Excess = 0 // a refusal that nobody hears of ends the connection
		}
	case "consumer":
		w.Epochs = pick[int64](d, 0, 20, 60)
		w.Forget = pick[int64](d, 0, 0, 50)
	case "churn":
		w.Reuse = d.Below(2)
	}
}

func plainProducer(w *Workload, d *event.Stream) {
	w.Kind = "producer"
	w.PerSecond = pick[int64](d, 5, 20, 60)
	w.Records = pick[int64](d, 1, 5, 60)
	w.ValueBytes = pick[int64](d, 20, 200, 4000)
	w.InFlight = d.Between(1, 5)
	w.Spread = d.Between(1, 4)
	w.Compress = pick[int64](d, 0, 0, 200)
}

func idempotentProducer(w *Workload, d *event.Stream) {
	plainProducer(w, d)
	w.Idempotent = 1
	w.GiveUp = pick(d, 0, 0, 2*time.Second)
}

func consumer(w *Workload, d *event.Stream) {
	w.Kind = "consumer"
	w.Sessions = d.Below(2)
	w.MaxWait = pick(d, 0, 50*time.Millisecond, 500*time.Millisecond)
	w.MinBytes = pick[int64](d, 1, 1, 500, 5000)
	w.MaxBytes = pick[int64](d, 500, 20<<10, 1<<20, 50<<20)
	w.PartitionBytes = pick[int64](d, 100, 10<<10, 1<<20)
	w.Pause = pick(d, 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond)
	if w.MaxWait == 0 {
		w.Pause = max(w.Pause, 20*time.Millisecond)
	}
	w.Rewind = pick[int64](d, 0, 10, 60)
	w.Ask = pick[int64](d, 0, 20, 100)
}

// faults draws which kinds this seed has, then the faults of each kind.
func (s *swarm) faults(p *Plan) {
	d := s.rand.Stream("plan faults", 0)
	odds := pick[int64](&d, 0, 100, 250, 500)
	for i, kind := range FaultKinds {
		if needsWait(kind) && p.Config.ShipAsync != 0 {
			continue
		}
		each := s.rand.Stream("plan fault", uint64(i))
		if !each.PerMille(odds) {
			continue
		}
		for range each.Between(1, 4) {
			p.add(drawStrike(&each, kind, p))
		}
	}
}

// add adds a strike that the swarm drew.
func (p *Plan) add(s Strike) {
	f, err := s.fault()
	if err != nil {
		panic(fmt.Sprintf("sim: the swarm drew %v: %v", s, err))
	}
	p.Faults = append(p.Faults, f)
}

// needsWait reports whether a fault loses what was acknowledged before the object store had it: without the
// wait for that, the last seconds of metadata may go with their disk.
func needsWait(kind string) bool {
	return kind == "meta-old" || kind == "disks-old" || kind == "clone" || kind == "meta-lost"
}

func drawStrike(d *event.Stream, kind string, p *Plan) Strike {
	f := Strike{Kind: kind, At: d.Duration(0, p.Config.Duration), For: d.Duration(10*time.Millisecond, 3*time.Second)}
	switch kind {
	case "crash", "kill", "stop", "crash-put", "kill-put", "crash-wal", "kill-wal", "crash-meta", "kill-meta", "crash-super", "kill-super":
		f.For = d.Duration(time.Millisecond, time.Second)
	case "clock-step":
		f.For, f.Amount = 0, d.Duration(-time.Hour, time.Hour)
	case "wal-slow", "meta-slow", "store-slow", "net-slow":
		f.Rate = pick[int64](d, 3000, 20_000, 100_000)
	case "wal-stall", "meta-stall":
		f.Rate, f.Amount = d.Between(1000, 100_000), d.Duration(10*time.Millisecond, 2*time.Second)
	case "wal-read-error", "meta-read-error":
		f.Rate = d.Between(1000, 200_000)
	case "wal-write-error", "wal-sync-error", "meta-write-error", "meta-sync-error":
		f.Rate = d.Between(100, 20_000)
	case "store-refuse", "store-lost-before", "store-lost-after", "store-late", "store-short", "store-corrupt", "store-deny-put", "store-deny-get", "store-join":
		f.Rate = pick(d, 20, 200, 500, d.Between(1, 1000))
	case "wal-shear":
		f.Rate = d.Between(200, 1000)
	case "store-uplink", "store-downlink":
		f.Rate = pick[int64](d, 30<<10, 200<<10, 2<<20)
	case "meta-old", "disks-old":
		f.Amount = d.Duration(10*time.Millisecond, 5*time.Second)
	case "meta-lost":
		f.For = d.Duration(time.Millisecond, time.Second)
	case "cut", "cut-in", "cut-out", "stall", "reset":
		f.Client = d.Between(-1, int64(len(p.Workloads))-1)
	}
	if kind == "net-slow" {
		f.Client = -1
	}
	if d.PerMille(60) && !needsWait(kind) {
		f.Early, f.At = 1, d.Duration(0, 500*time.Millisecond)
	}
	if kind == "reset" {
		f.For = 0
	}
	return f
}

// Reference is the plan by which speed is measured: 200 requests a second from
// producers and readers together, no faults, an ordinary configuration.
func Reference() *Plan {
	p := &Plan{
		Config: Config{Duration: 60 * time.Second, Restarts: 1},
		Topics: []Topic{{Name: "reference", Partitions: 4}},
	}
	for i := range int64(4) {
		p.Workloads = append(p.Workloads, Workload{Kind: "producer", Client: i, PerSecond: 25, Records: 5, ValueBytes: 100, InFlight: 5, Spread: 2, Idempotent: 1})
	}
	for i := int64(4); i < 6; i++ {
		p.Workloads = append(p.Workloads, Workload{
			Kind: "consumer", Client: i, Sessions: i - 4, MaxWait: 500 * time.Millisecond, MinBytes: 1,
			MaxBytes: 1 << 20, PartitionBytes: 1 << 20, Pause: 15 * time.Millisecond, Ask: 20, Rewind: 2,
		})
	}
	return p
}
