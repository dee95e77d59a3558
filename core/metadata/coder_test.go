package metadata

import "testing"

// What a list refuses by its count must not be what some list has: the least bytes
// of an element are those of its zero value.
func TestLeastBytesAreThoseOfZeroValues(t *testing.T) {
	for name, c := range map[string]struct {
		least  int
		fields func(*coder)
	}{
		"broker":         {brokerBytesLeast, new(Broker).fields},
		"broker configs": {brokerConfigsBytesLeast, new(brokerConfigs).fields},
		"commit part":    {commitPartBytesLeast, new(CommitPart).fields},
		"config":         {configBytesLeast, new(Config).fields},
		"endpoint":       {endpointBytesLeast, new(Endpoint).fields},
		"feature":        {featureBytesLeast, new(Feature).fields},
		"leader":         {leaderBytesLeast, new(Leader).fields},
		"lease":          {leaseBytesLeast, new(Lease).fields},
		"object":         {objectBytesLeast, new(Object).fields},
		"part":           {partBytesLeast - 1, new(Part).fields}, // its object comes first
		"partition":      {partitionBytesLeast, new(Partition).fields},
		"range":          {rangeBytesLeast, new(Range).fields},
		"range end":      {rangeEndBytesLeast, new(RangeEnd).fields},
		"stream":         {streamBytesLeast, new(Stream).fields},
		"topic":          {topicBytesLeast, new(Topic).fields},
	} {
		zero := coder{}
		c.fields(&zero)
		if len(zero.b) != c.least {
			t.Errorf("a %s takes at least %d bytes, not %d", name, len(zero.b), c.least)
		}
	}
}
