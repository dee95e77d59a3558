package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kfakeCommand runs franz-go's fake broker as a process of its own, so that its CPU
// and memory can be told from the client's.
func kfakeCommand(ctx context.Context, args []string) error {
	set := newFlags("kfake")
	address := set.String("listen", "127.0.0.1:9092", "host:port; the host must be 127.0.0.1")
	dir := set.String("dir", "", "keep records there; empty is memory only")
	sync := set.Bool("sync", false, "sync every batch; needs -dir")
	set.Parse(args)
	host, text, err := net.SplitHostPort(*address)
	if err != nil || host != "127.0.0.1" {
		return errors.New("kfake listens on 127.0.0.1:PORT only")
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	options := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(port)}
	if *dir != "" {
		options = append(options, kfake.DataDir(*dir))
	}
	if *sync {
		options = append(options, kfake.SyncWrites())
	}
	cluster, err := kfake.NewCluster(options...)
	if err != nil {
		return err
	}
	defer cluster.Close()
	fmt.Fprintf(os.Stderr, "listening on %s\n", cluster.ListenAddrs()[0])
	<-ctx.Done()
	return nil
}
