package wire

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A compact length may be above what the key of a record, or an old answer, can repeat: such a transactional id made the
// partition of __transaction_state unreadable.
func TestStringsAreNoLongerThanARecordHolds(t *testing.T) {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.Version = 4
	schema := FindAPI(q.Key()).Schema
	for n, fits := range map[int]bool{StringBytesMax: true, StringBytesMax + 1: false, 1 << 16: false} {
		q.TransactionalID = kmsg.StringPtr(strings.Repeat("x", n))
		err := schema.Check(q.Version, q.AppendTo(nil))
		require.Equal(t, fits, err == nil, "%d: %v", n, err)
	}
}
