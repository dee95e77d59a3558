package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/config"
)

// drainPoll is how often drain --wait looks.
const drainPoll = time.Second

// drainFlags say which broker is emptied.
type drainFlags struct {
	bootstrap string
	broker    int32
	cancel    bool
	wait      bool
}

func drainCommand() *cobra.Command {
	var f drainFlags
	c := &cobra.Command{
		Use:   "drain --broker ID",
		Short: "Let a broker give its partitions to the others, and get no new ones",
		Long: `drain tells the cluster to move every partition that a broker leads to other brokers, and to give it no new ones.
Clients see at most one retriable error for each partition. The cluster keeps that in mind until --cancel, whichever broker starts
anew. The last broker that could take partitions is refused.

It sets the configuration weir.broker.drain of the broker, as kafka-configs could.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.run(c.Context(), c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&f.bootstrap, "bootstrap-server", "127.0.0.1:9092", "host:port,... of any brokers of the cluster")
	c.Flags().Int32Var(&f.broker, "broker", -1, "the node.id of the broker")
	c.Flags().BoolVar(&f.cancel, "cancel", false, "end the drain: the broker gets partitions again")
	c.Flags().BoolVar(&f.wait, "wait", false, "wait until the broker leads nothing, and say how many partitions are left")
	c.MarkFlagsMutuallyExclusive("cancel", "wait")
	_ = c.MarkFlagRequired("broker") // it fails only for a flag that is not there
	return c
}

func (f *drainFlags) run(ctx context.Context, out io.Writer) error {
	c, err := dial(f.bootstrap)
	if err != nil {
		return err
	}
	defer c.close()
	if err := f.set(c); err != nil {
		return err
	}
	if f.cancel {
		fmt.Fprintf(out, "Broker %d is not drained any more.\n", f.broker)
		return nil
	}
	return f.follow(ctx, c, out)
}

// set changes the configuration of the broker.
func (f *drainFlags) set(c *client) error {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.Version = 1
	change := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	change.Name, change.Op = config.DrainKey, kmsg.IncrementalAlterConfigOpDelete
	if !f.cancel {
		change.Op, change.Value = kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr("true")
	}
	broker := kmsg.NewIncrementalAlterConfigsRequestResource()
	broker.ResourceType, broker.ResourceName = kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(f.broker))
	broker.Configs = append(broker.Configs, change)
	r.Resources = append(r.Resources, broker)
	response := kmsg.NewPtrIncrementalAlterConfigsResponse()
	if err := c.ask(r, response); err != nil {
		return err
	}
	for _, answer := range response.Resources {
		if err := refusedBy(answer.ErrorCode, answer.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// follow says how many partitions the broker leads, with wait until there are none.
func (f *drainFlags) follow(ctx context.Context, c *client, out io.Writer) error {
	for before := -1; ; {
		left, err := f.leads(c)
		if err != nil {
			return err
		}
		if left != before {
			fmt.Fprintf(out, "Broker %d is drained, and leads %d partitions.\n", f.broker, left)
		}
		if left == 0 || !f.wait {
			return nil
		}
		before = left
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
		}
	}
}

// leads counts the partitions that the broker leads.
func (f *drainFlags) leads(c *client) (count int, err error) {
	r := kmsg.NewPtrMetadataRequest()
	r.Version, r.Topics = 9, nil // all
	response := kmsg.NewPtrMetadataResponse()
	if err := c.ask(r, response); err != nil {
		return 0, err
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if p.Leader == f.broker {
				count++
			}
		}
	}
	return count, nil
}
