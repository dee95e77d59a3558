package checker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// keyedWrites is a history of two keys: value, value, tombstone of the first; a value of the second that was aborted, and one of which
// nobody knows.
func keyedWrites() []KeyedWrite {
	return []KeyedWrite{
		{Key: 1, Outcome: Done, Call: 1, Return: 2, Base: 0},
		{Key: 1, Outcome: Done, Call: 3, Return: 4, Base: 1},
		{Key: 2, Outcome: Done, Call: 5, Return: 6, Base: 2},
		{Key: 1, Outcome: Done, Call: 7, Return: 8, Base: 3, Tombstone: true},
		{Key: 2, Outcome: Failed, Call: 9, Return: 10, Base: 4},
		{Key: 2, Outcome: Open, Call: 11, Base: -1},
	}
}

func read(offset int64, write int32) KeyedRecord {
	w := keyedWrites()[write]
	return KeyedRecord{Offset: offset, Write: write, Key: w.Key, Tombstone: w.Tombstone}
}

func TestCheckKeyed(t *testing.T) {
	for name, c := range map[string]struct {
		scan  KeyedScan
		stay  bool // tombstones do
		wrong string
	}{
		"everything":                        {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(0, 0), read(1, 1), read(2, 2), read(3, 3)}}, stay: true},
		"compacted":                         {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(2, 2), read(3, 3)}, Compacted: 9}, stay: true},
		"the tombstone is gone, too":        {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(2, 2)}}},
		"what nobody knows":                 {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(3, 3), read(5, 5)}}, stay: true},
		"before the tombstone":              {scan: KeyedScan{Call: 5, Return: 6, End: 2, Records: []KeyedRecord{read(1, 1)}}, stay: true},
		"read, and then the tombstone goes": {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(1, 1), read(2, 2)}}},
		"the tombstone has to stay":         {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(2, 2)}}, stay: true, wrong: "I1"},
		"a value is gone":                   {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(3, 3)}}, wrong: "I1"},
		"an older value":                    {scan: KeyedScan{Call: 5, Return: 6, End: 2, Records: []KeyedRecord{read(0, 0)}}, wrong: "I1"},
		"back from the dead":                {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(1, 1), read(2, 2)}, Compacted: 9}, wrong: "I1"},
		"what was aborted":                  {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(2, 2), read(3, 3), read(4, 4)}}, wrong: "I7"},
		"another offset":                    {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(3, 2), read(4, 3)}}, wrong: "I2"},
		"out of order":                      {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(3, 3), read(2, 2)}}, wrong: "I2"},
		"nobody wrote it":                   {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{{Offset: 7, Write: 99}}}, wrong: "I2"},
		"another key":                       {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{{Offset: 2, Write: 2, Key: 1}}}, wrong: "I2"},
		"the log is too short":              {scan: KeyedScan{Call: 20, Return: 30, End: 2, Records: []KeyedRecord{read(0, 0), read(1, 1)}}, wrong: "I3"},
		"nothing was compacted":             {scan: KeyedScan{Call: 20, Return: 30, End: 9, Records: []KeyedRecord{read(0, 0), read(1, 1), read(2, 2), read(3, 3)}, Compacted: 9}, wrong: "compaction"},
	} {
		t.Run(name, func(t *testing.T) {
			found := CheckKeyed(&Keyed{Name: "t", Writes: keyedWrites(), Scans: []KeyedScan{c.scan}, TombstonesStay: c.stay})
			if c.wrong == "" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			require.Contains(t, invariants(found), c.wrong)
		})
	}
}

func invariants(found []Violation) (names []string) {
	for _, v := range found {
		names = append(names, v.Invariant)
	}
	return names
}

// A record has one offset in all readings.
func TestOffsetsOfACompactedLogNeverChange(t *testing.T) {
	scans := []KeyedScan{
		{Call: 11, Return: 12, End: 9, Records: []KeyedRecord{read(2, 2), read(3, 3), read(5, 5)}},
		{Call: 13, Return: 14, End: 9, Records: []KeyedRecord{read(2, 2), read(3, 3), read(6, 5)}},
	}
	require.Contains(t, invariants(CheckKeyed(&Keyed{Name: "t", Writes: keyedWrites(), Scans: scans})), "I6")
}
