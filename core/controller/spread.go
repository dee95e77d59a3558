package controller

import (
	"cmp"
	"slices"

	"weir/core/metadata"
)

// standing is what brokers lead, to decide from. Shares are relative: unit is the mean of all brokers, of bytes and of partitions.
//
// The potential that each move lowers is the sum of the squares of the brokers' shares of bytes, of their shares of partitions, and of each
// topic's partitions in each zone by the brokers there, with falling weights: a topic is spread over the zones where that costs next to nothing.
type standing struct {
	hosts     []*host // by id
	zones     []string
	brokersIn []int // brokers by zone
	inZone    []int // partitions by topic and zone
	margin    int64 // the hysteresis: a part of unit

	loadSum, loadMean int64 // bytes a second
	denominator       int64 // bytes a second that are one unit
	count             int   // partitions
	each              int64 // one partition's share
	meanShare         int64 // of load; less than unit if there is less than the floor
}

const (
	unit        = 1 << 18
	loadWeight  = 16
	countWeight = 4
	// tiny is a share of load that matters nowhere.
	tiny = unit / 1000
	// loadMax bounds a broker's load in bytes a second, so that shares do not overflow.
	loadMax = 1 << 42
	// restCandidates is how many partitions of a broker are looked at that are not among the busiest: they count as equal.
	restCandidates = 8
)

// host is a broker and what it leads.
type host struct {
	id    metadata.BrokerID
	zone  int
	count int
	load  int64 // bytes a second
	share int64 // of load
	hot   bool  // it gives up load
	busy  []held
	rest  []held
}

// held is a partition that a host leads.
type held struct {
	stream metadata.StreamID
	topic  int   // index
	rate   int64 // bytes a second
	busy   bool  // the rate is its own
}

func newStanding(brokers []*metadata.Broker, percent int) *standing {
	s := &standing{margin: unit * int64(percent) / 100}
	for _, b := range brokers {
		zone := slices.Index(s.zones, b.Rack)
		if zone < 0 {
			zone = len(s.zones)
			s.zones, s.brokersIn = append(s.zones, b.Rack), append(s.brokersIn, 0)
		}
		s.brokersIn[zone]++
		s.hosts = append(s.hosts, &host{id: b.ID, zone: zone})
	}
	return s
}

// add adds a partition, which may be moved or not. Topics come in order.
func (s *standing) add(leader metadata.BrokerID, p held, movable bool) {
	for len(s.inZone) < (p.topic+1)*len(s.zones) {
		s.inZone = append(s.inZone, 0)
	}
	h := s.host(leader)
	if h == nil {
		return // its leader is to take nothing, or is away
	}
	h.count++
	h.load = min(h.load+p.rate, loadMax)
	s.count++
	*s.zoneCount(p.topic, h) += 1
	switch {
	case !movable:
	case p.busy:
		h.busy = append(h.busy, p)
	default:
		h.rest = append(h.rest, p)
	}
}

func (s *standing) host(id metadata.BrokerID) *host {
	i, ok := slices.BinarySearchFunc(s.hosts, id, func(h *host, id metadata.BrokerID) int { return cmp.Compare(h.id, id) })
	if !ok {
		return nil
	}
	return s.hosts[i]
}

func (s *standing) zoneCount(topic int, h *host) *int { return &s.inZone[topic*len(s.zones)+h.zone] }

// weigh computes the shares, once all partitions were added. A mean below the floor counts as the floor.
func (s *standing) weigh(floor int64) {
	n := int64(len(s.hosts))
	for _, h := range s.hosts {
		s.loadSum += h.load
	}
	s.loadMean = s.loadSum / n
	s.denominator = max(s.loadMean, floor, 1)
	s.each = unit * n / int64(max(s.count, 1))
	s.meanShare = s.share(s.loadMean)
	for _, h := range s.hosts {
		h.share = s.share(h.load)
	}
}

func (s *standing) share(load int64) int64 { return min(load, loadMax) * unit / s.denominator }

// gain is by how much the potential falls, halved, if a partition moves, and the difference in load is less than it seems.
func (s *standing) gain(from, to *host, p *held) int64 {
	r := s.share(p.rate)
	byLoad := r * (from.share - to.share - r - s.slack(from))
	byCount := s.each * s.each * int64(from.count-to.count-1)
	byZone := int64(0)
	if from.zone != to.zone {
		f, t := s.brokersIn[from.zone], s.brokersIn[to.zone]
		byZone = s.each * s.each * int64((2**s.zoneCount(p.topic, from)-1)*t-(2**s.zoneCount(p.topic, to)+1)*f) / int64(2*f*t)
	}
	return loadWeight*byLoad + countWeight*byCount + byZone
}

// habits are what one look leaves to the next, so that nothing begins by one wrong figure, and what has begun goes on until it is done.
type habits struct {
	heat    map[metadata.BrokerID]int // looks in a row at which a broker's load exceeded its share, up to hotAfter
	evening bool                      // numbers are being evened out
}

// hotAfter is how many looks in a row make a broker give up load.
const hotAfter = 2

// spread decides what to move now, at most so many.
func (s *standing) spread(room int, of *habits) (moves []move) {
	heat := map[metadata.BrokerID]int{}
	for _, h := range s.hosts {
		switch excess := h.share - s.meanShare; {
		case excess > s.margin:
			heat[h.id] = min(of.heat[h.id]+1, hotAfter)
		case excess > s.margin/2 && of.heat[h.id] == hotAfter:
			heat[h.id] = hotAfter
		}
		h.hot = heat[h.id] == hotAfter
	}
	of.heat = heat
	moves = s.steps(moves, room, reasonLoad, s.cools)
	return s.even(moves, room, of)
}

// even adds moves that even out numbers, up to room in all: from where they are uneven until nothing is left to do.
func (s *standing) even(moves []move, room int, of *habits) []move {
	if of.evening = of.evening || s.uneven(); of.evening {
		moves = s.steps(moves, room, reasonCount, s.evens)
		of.evening = len(moves) >= room
	}
	return moves
}

// cools reports whether a move takes load from a broker that has too much, and the next has clearly less then.
func (s *standing) cools(from, to *host, share int64) bool {
	return from.hot && share > tiny && from.share-s.meanShare > s.margin/2 && to.share+share <= from.share-s.slack(from)
}

// slack is by how much the figure of a broker may be wrong: half of the hysteresis, of the mean or of what the broker has.
func (s *standing) slack(from *host) int64 { return max(unit, from.share) * s.margin / unit / 2 }

// evens reports whether a move evens the numbers out, and leaves the next broker well below where it would have to give up load.
func (s *standing) evens(from, to *host, share int64) bool {
	return from.count >= to.count+2 && (to.share+share <= s.meanShare+s.margin/2 || share <= tiny)
}

// uneven reports whether a broker leads more partitions than its share by the hysteresis, or less.
func (s *standing) uneven() bool {
	n, percent := len(s.hosts), int(s.margin*100/unit)
	low, high := s.count/n, (s.count+n-1)/n
	return slices.ContainsFunc(s.hosts, func(h *host) bool {
		return h.count > high+max(high*percent/100, 1) || h.count < low-max(low*percent/100, 1)
	})
}

// steps makes the best moves that are allowed, one after another, as long as there are any.
func (s *standing) steps(moves []move, room int, why reason, allowed allowance) []move {
	for len(moves) < room {
		from, to, p := s.best(allowed)
		if from == nil {
			break
		}
		m := move{stream: p.stream, from: from.id, to: to.id, why: why, rate: p.rate, has: int64(from.count), mean: int64(s.count / len(s.hosts))}
		if why == reasonLoad {
			m.has, m.mean = from.load, s.loadMean
		}
		moves = append(moves, m)
		s.shift(from, to, p)
	}
	return moves
}

// allowance says whether a partition of some share may move from one host to another.
type allowance func(from, to *host, share int64) bool

// best finds the move that lowers the potential most; from is nil if none does.
func (s *standing) best(allowed allowance) (from, to *host, p held) {
	gain := int64(0)
	for _, f := range s.hosts {
		for candidate := range f.candidates {
			for _, t := range s.hosts {
				if t == f || !allowed(f, t, s.share(candidate.rate)) {
					continue
				}
				if g := s.gain(f, t, candidate); g > gain {
					from, to, p, gain = f, t, *candidate, g
				}
			}
		}
	}
	return from, to, p
}

// candidates yields the partitions that may move away: those with a figure of their own, and some of the others.
func (h *host) candidates(yield func(*held) bool) {
	for _, list := range [][]held{h.busy, h.rest[max(0, len(h.rest)-restCandidates):]} {
		for i := range list {
			if !yield(&list[i]) {
				return
			}
		}
	}
}

// shift moves a partition, which then stays.
func (s *standing) shift(from, to *host, p held) {
	*s.zoneCount(p.topic, from) -= 1
	from.count--
	from.load -= min(p.rate, from.load)
	from.share = s.share(from.load)
	gone := func(h held) bool { return h.stream == p.stream }
	from.busy, from.rest = slices.DeleteFunc(from.busy, gone), slices.DeleteFunc(from.rest, gone)
	s.give(to, p)
}

func (s *standing) give(to *host, p held) {
	*s.zoneCount(p.topic, to) += 1
	to.count++
	to.load = min(to.load+p.rate, loadMax)
	to.share = s.share(to.load)
}

// place moves a partition away from a broker that is drained, to where the potential rises least.
func (s *standing) place(from metadata.BrokerID, p held) move {
	to := slices.MinFunc(s.hosts, func(a, b *host) int {
		return cmp.Or(cmp.Compare(s.cost(a, &p), s.cost(b, &p)), cmp.Compare(a.id, b.id))
	})
	s.give(to, p)
	return move{stream: p.stream, from: from, to: to.id, why: reasonDrain, rate: p.rate}
}

// cost is by how much the potential rises with one more partition.
func (s *standing) cost(to *host, p *held) int64 {
	r := s.share(p.rate)
	return loadWeight*r*(2*to.share+r) + s.each*s.each*int64(countWeight*(2*to.count+1)+(2**s.zoneCount(p.topic, to)+1)/s.brokersIn[to.zone])
}
