package durability

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// faultPlan are the arguments by which a broker injects faults into itself; none without a plan.
func faultPlan(t *testing.T, plan ...string) []string {
	if len(plan) == 0 {
		return nil
	}
	file := filepath.Join(t.TempDir(), "faults.plan")
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(plan, "\n")), 0o600))
	return []string{"--fault-plan", file, "--i-know-this-injects-faults"}
}

// restart ends the broker well and starts it with another plan.
func (r *restoredRig) restart(plan ...string) {
	require.NoError(r.t, r.process.Stop(restoredLimit))
	r.args = faultPlan(r.t, plan...)
	r.start()
}

// A sync that fails ends the broker before it acknowledges what the sync was for; the next start has what was
// acknowledged.
func TestSyncOfTheLogThatFails(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.produceRecords(100)
	r.restart("disk:wal sync-error at=200ms")
	client := r.client(kgo.DisableIdempotentWrite())
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), restoredLimit)
	defer cancel()
	go func() {
		<-r.process.Ended()
		cancel()
	}()
	for client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(r.sent))).FirstErr() == nil {
		r.sent++
	}
	<-r.process.Ended()
	require.Error(t, r.process.Wait())
	require.Contains(t, r.process.Tail(100), "THIS BROKER INJECTS FAULTS INTO ITSELF")
	require.Contains(t, r.process.Tail(100), "injected: a write of the wal disk")
	require.Greater(t, r.sent, 100)
	r.args = nil
	r.start()
	r.readsAll()
}

// A start on a disk that other programs have filled waits, says so, and goes on when there is room.
func TestStartOnAFullDisk(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.produceRecords(100)
	r.restart("disk:* full since=boot for=3s")
	r.produceRecords(1000)
	r.readsAll()
}

// A store that is slow and refuses holds up nothing that the log has room for.
func TestSlowStore(t *testing.T) {
	r := newRestoredRig(t, nil)
	r.restart("store stall by=2s", "store refuse rate=30%")
	r.produceRecords(1000)
	r.says("a fault begins", "store stall by=2s")
	r.restart()
	r.readsAll()
}
