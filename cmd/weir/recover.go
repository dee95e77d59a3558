package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/core/config"
	"weir/core/node"
	"weir/realio/logging"
	"weir/realio/metrics"
)

// errNotConfirmed ends recover-cluster before it has changed anything.
var errNotConfirmed = errors.New("nothing was changed; run again with --yes to write the metadata disk")

func recoverCommand(given *settingsFlags) *cobra.Command {
	var logs logFlags
	var yes bool
	c := &cobra.Command{
		Use:   "recover-cluster",
		Short: "Write a lost metadata disk anew from the object store",
		Long: `recover-cluster writes the metadata disk (weir.meta.path) anew from what the broker shipped to the
object store. Use it only if that disk is lost: with any older copy of the disk, just start the broker,
and it catches up by itself.

Without --yes it says what it found and what may be lost, and changes nothing. With --yes it ends the
present incarnation of the cluster in the object store, so that the lost disk cannot come back, and writes
the new one. The log disk (weir.wal.path) is left alone: the next start recovers what it holds.

Of a cluster of several brokers, use it only if a majority of the voters' metadata disks is lost: a broker that lost
its disk alone joins the others with an empty one. Stop all brokers, run this on one of the voters, start that one, and then the
others with empty metadata disks; each finds its own log again.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := given.load()
			if err != nil {
				return err
			}
			m := metrics.New()
			log, err := logs.logger(c.ErrOrStderr(), m)
			if err != nil {
				return err
			}
			defer log.Close()
			return recoverCluster(settings, log, m, c.OutOrStdout(), yes)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "write the metadata disk; without it, only say what would be done")
	c.Flags().StringVar(&logs.level, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&logs.format, "log-format", "text", "text or json")
	return c
}

func recoverCluster(settings *config.Settings, log *logging.Logger, m *metrics.Metrics, out io.Writer, yes bool) error {
	c := settings.Broker()
	world, err := openWorld(c, log, m)
	if err != nil {
		return err
	}
	var failure error
	r := node.NewClusterRecovery(world.env, node.RecoveryOptions{
		Config: c,
		Confirm: func(found node.ClusterReport) bool {
			describe(out, c, found)
			return yes
		},
		Done: func(found node.ClusterReport, err error) {
			switch {
			case err != nil:
				failure = err
			case !found.Done:
				failure = errNotConfirmed
			default:
				fmt.Fprintf(out, "\nThe metadata disk %s was written, as incarnation %d of the cluster. Start the broker.\n", c.MetaPath, found.Incarnation)
			}
			world.mailbox.Stop()
		},
	})
	stop := watchSignals(log, world.mailbox.Stop)
	defer stop()
	world.mailbox.Run(r)
	return errors.Join(failure, world.close())
}

// describe says what the object store holds of a cluster, and what is lost at most.
func describe(out io.Writer, c *config.Broker, found node.ClusterReport) {
	fmt.Fprintf(out, "The object store (%s) holds cluster %s of node %d, as of %s: %d topics with %d partitions, %d objects.\n",
		c.ObjectStore, found.ClusterID, found.Node, found.ShippedAt.Format(time.RFC3339), found.Topics, found.Partitions, found.Objects)
	fmt.Fprintf(out, "The last shipment is number %d, up to record %d of the metadata's log.\n", found.Sequence, found.Index)
	if c.ShipAsync {
		fmt.Fprintf(out, "weir.metadata.shipping is async: changes of the metadata of the last %v before the loss may be lost, and with a new topic its records.\n", c.ShipInterval)
	} else {
		fmt.Fprintf(out, "If weir.metadata.shipping was wait, as it is now, nothing that was acknowledged is lost with the metadata disk.\n")
	}
	if len(found.Logs) > 0 {
		fmt.Fprintf(out, "The next start of the broker that wrote them needs these files, in its %s; records that are in no object yet are in them: %s.\n", c.WALPath, strings.Join(found.Logs, ", "))
	}
	if len(found.ObjectLogs) > 0 {
		fmt.Fprintf(out, "The next start reads records that are in no object yet from these logs in the object store: %s.\n", strings.Join(found.ObjectLogs, ", "))
	}
	if found.Brokers > 1 {
		fmt.Fprintf(out, "The cluster has %d brokers. None of them may run. This one will be the first of the new incarnation; empty the metadata disks (weir.meta.path) of the others before they start again.\n", found.Brokers)
	}
	if len(found.Logs) > 0 {
		fmt.Fprintf(out, "If some of these files are lost for good, name them: --set weir.wal.abandoned=%s. Their broker starts without them then, and what is only there is lost.\n", strings.Join(found.Logs, ","))
	}
	fmt.Fprintf(out, "The broker must not run: what it acknowledges from now on is lost with its disk. If it does, stop it and run this again.\n")
	fmt.Fprintf(out, "The disk that was lost must never be used again, nor any copy of it: the cluster goes on as incarnation %d.\n", found.Incarnation)
}
