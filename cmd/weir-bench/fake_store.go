package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

const (
	fakeStoreBucket = "weir-bench"
	// fakeStoreBytesMax leaves room for all loads: objects are in memory, and logs until they are uploaded.
	fakeStoreBytesMax = 1 << 30
)

// fakeStoreCommand runs gofakes3 in memory as a process of its own, so that its CPU can be told from that of brokers and client.
func fakeStoreCommand(ctx context.Context, args []string) error {
	set := newFlags("s3")
	address := set.String("listen", "127.0.0.1:9000", "host:port")
	set.Parse(args)
	backend := s3mem.New()
	if err := backend.CreateBucket(fakeStoreBucket); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "bucket %s at http://%s\n", fakeStoreBucket, listener.Addr())
	server := &http.Server{Handler: gofakes3.New(backend).Server()}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
