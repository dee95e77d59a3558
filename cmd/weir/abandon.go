package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weir/core/wire"
)

// errNotAbandoned ends abandon-wal before it has changed anything.
var errNotAbandoned = errors.New("nothing was changed")

// abandonFlags say whose logs are given up.
type abandonFlags struct {
	servers string
	broker  int32
	yes     bool
}

func abandonCommand() *cobra.Command {
	var f abandonFlags
	c := &cobra.Command{
		Use:   "abandon-wal",
		Short: "Give up the write-ahead log of a broker whose log disk is lost",
		Long: `abandon-wal gives up what only the write-ahead logs of one broker hold. Use it only if the log disk (weir.wal.path) of
that broker is lost for good: as long as there is any hope for the disk, the partitions can wait.

A broker that is gone with a log disk of its own leaves partitions without a leader: nobody else can read what was acknowledged and
is not in the object store yet. This command says how much that is at most, asks, and then accepts the loss: the partitions go to
brokers that are alive, and their next records get offsets above all that the lost log can have given. Readers pass over the gap. Idempotent
producers of what was lost are told so (OUT_OF_ORDER_SEQUENCE_NUMBER), as after an unclean election in Kafka. If partitions of
__consumer_offsets or __transaction_state are among them, so are offsets and transactions that were committed since their last upload.

Without --broker it lists what waits. The broker must be dead. If it comes back later, with or without its disk, it starts as any other; what
its old log held is not part of the cluster any more.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.InOrStdin(), c.OutOrStdout()) },
	}
	c.Flags().StringVar(&f.servers, "bootstrap-server", "127.0.0.1:9092", "brokers of the cluster that are alive, host:port,...")
	c.Flags().Int32Var(&f.broker, "broker", -1, "the broker whose logs are given up, by its node.id")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	return c
}

func (f *abandonFlags) run(in io.Reader, out io.Writer) error {
	found, err := ask[*wire.AbandonWALResponse](f.servers, &wire.AbandonWALRequest{Broker: f.broker})
	if err == nil {
		err = refusedBy(found.ErrorCode, found.ErrorMessage)
	}
	if err != nil {
		return err
	}
	for i := range found.Waiting {
		describeWaiting(out, &found.Waiting[i])
	}
	switch {
	case len(found.Waiting) == 0 && f.broker >= 0:
		return fmt.Errorf("nothing waits for the logs of broker %d: it is alive, or its logs hold nothing that is nowhere else, or other brokers recover them; %w", f.broker, errNotAbandoned)
	case len(found.Waiting) == 0:
		fmt.Fprintln(out, "No partition waits for the log of a broker that is gone.")
		return nil
	case f.broker < 0:
		fmt.Fprintln(out, "To accept the loss of one of them: weir abandon-wal --broker ID.")
		return nil
	case !f.yes && !accepts(in, out, f.broker):
		return errNotAbandoned
	}
	done, err := ask[*wire.AbandonWALResponse](f.servers, &wire.AbandonWALRequest{Broker: f.broker, Epoch: found.Waiting[0].Epoch, GiveUp: true})
	if err == nil {
		err = refusedBy(done.ErrorCode, done.ErrorMessage)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The logs of broker %d are given up. Its partitions have leaders among the brokers that are alive.\n", f.broker)
	return nil
}

// describeWaiting says what is lost at most.
func describeWaiting(out io.Writer, w *wire.WaitingWAL) {
	fmt.Fprintf(out, "Broker %d is gone, and %d partitions have records that only its write-ahead log holds, or may hold; %d of them have no leader.\n",
		w.Broker, w.Partitions, w.Leaderless)
	fmt.Fprintf(out, "Lost at most, if its log is given up: all that they acknowledged and that was not uploaded, which is what the log held.\n")
	if w.BytesMax >= 0 {
		fmt.Fprintf(out, "  in bytes: %d, the size of the log", w.BytesMax)
	} else {
		fmt.Fprintf(out, "  in bytes: the size of the log, weir.wal.size.bytes of that broker")
	}
	if w.BytesUsed >= 0 {
		fmt.Fprintf(out, "; at its last heartbeat %d were in it", w.BytesUsed)
	}
	fmt.Fprintf(out, "\n  in records: %d of partitions that others lead by now; up to %d of each of the %d without a leader, whose offsets go on that much higher\n",
		w.Records, w.Offsets, w.Leaderless)
}

// accepts asks for the broker's id.
func accepts(in io.Reader, out io.Writer, broker int32) bool {
	fmt.Fprintf(out, "Type the broker's id to accept the loss: ")
	line, _ := bufio.NewReader(in).ReadString('\n')
	return strings.TrimSpace(line) == strconv.Itoa(int(broker))
}
