package metadata

import "testing"

// What a list refuses by its count must not be what some list has: the least bytes
// of an element are those of its zero value.
func TestLeastBytesAreThoseOfZeroValues(t *testing.T) {
	for name, c := range map[string]struct {
		least  int
		fields func(*coder)
	}{
		"broker":         {brokerBytesMin, new(Broker).fields},
		"broker configs": {brokerConfigsBytesMin, new(brokerConfigs).fields},
		"commit part":    {commitPartBytesMin, new(CommitPart).fields},
		"config":         {configBytesMin, new(Config).fields},
		"endpoint":       {endpointBytesMin, new(Endpoint).fields},
		"feature":        {featureBytesMin, new(Feature).fields},
		"leader":         {leaderBytesMin, new(Leader).fields},
		"lease":          {leaseBytesMin, new(Lease).fields},
		"object":         {objectBytesMin, new(Object).fields},
		"new object":     {newObjectBytesMin, new(NewObject).fields},
		"part":           {partBytesMin - 1, new(Part).fields}, // its object comes first
		"partition":      {partitionBytesMin, new(Partition).fields},
		"range":          {rangeBytesMin, new(Range).fields},
		"range end":      {rangeEndBytesMin, new(RangeEnd).fields},
		"replacement":    {replacementBytesMin, new(Replacement).fields},
		"source":         {sourceBytesMin, new(Source).fields},
		"stream":         {streamBytesMin, new(Stream).fields},
		"topic":          {topicBytesMin, new(Topic).fields},
	} {
		zero := coder{}
		c.fields(&zero)
		if len(zero.b) != c.least {
			t.Errorf("a %s takes at least %d bytes, not %d", name, len(zero.b), c.least)
		}
	}
}
