package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/bill"
	"weir/internal/scrape"
)

// costFlags say what is priced, and how.
type costFlags struct {
	prices string
	store  string
	watch  time.Duration
	over   time.Duration
	since  string
}

func costCommand() *cobra.Command {
	var f costFlags
	c := &cobra.Command{
		Use:   "cost [URL or FILE]...",
		Short: "Print what the object store costs, by purpose, from a broker's metrics",
		Long: `Print what the object store costs, by purpose, from a broker's metrics: those of a running one
(http://127.0.0.1:9644/metrics; the broker needs weir.metrics.address) or a saved scrape of them. The counts are
those since the broker started, unless --watch or --since says otherwise. Of several brokers of a cluster: the sum.
Without an argument: the price list.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return f.printPrices(c.OutOrStdout())
			}
			return f.print(c.Context(), c.OutOrStdout(), args)
		},
	}
	c.Flags().StringVar(&f.prices, "prices", "", "a price list file, instead of the one that is built in")
	c.Flags().StringVar(&f.store, "store", "", "the store in the price list; default: its first")
	c.Flags().DurationVar(&f.watch, "watch", 0, "count for so long from now on, instead of since the broker started")
	c.Flags().StringVar(&f.since, "since", "", "count since this earlier scrape of the same incarnation, a file")
	c.Flags().DurationVar(&f.over, "over", 0, "the time that the counts cover, where the metrics and the file's time do not say it right")
	return c
}

func (f *costFlags) list() (*bill.PriceList, error) {
	if f.prices == "" {
		return bill.DefaultPrices(), nil
	}
	text, err := os.ReadFile(f.prices)
	if err != nil {
		return nil, err
	}
	return bill.ParsePrices(text)
}

func (f *costFlags) printPrices(w io.Writer) error {
	list, err := f.list()
	if err != nil {
		return err
	}
	return list.PrintPrices(w)
}

func (f *costFlags) print(ctx context.Context, w io.Writer, from []string) error {
	list, err := f.list()
	if err != nil {
		return err
	}
	prices, err := list.Store(f.store)
	if err != nil {
		return err
	}
	account, err := f.account(ctx, from)
	if err != nil {
		return err
	}
	if f.over > 0 {
		account.Over = f.over
	}
	return list.Print(w, account, prices)
}

// account is what was counted in the time that the flags choose.
func (f *costFlags) account(ctx context.Context, from []string) (*bill.Account, error) {
	var earlier *bill.Account
	var err error
	switch {
	case f.watch > 0 && f.since != "":
		return nil, errors.New("--watch and --since exclude each other")
	case len(from) > 1 && f.since != "":
		return nil, errors.New("--since is for one broker")
	case f.since != "":
		earlier, err = scrapeAll(ctx, []string{f.since})
	case f.watch > 0:
		if earlier, err = scrapeAll(ctx, from); err == nil {
			err = wait(ctx, f.watch)
		}
	}
	if err != nil {
		return nil, err
	}
	account, err := scrapeAll(ctx, from)
	if err != nil || earlier == nil {
		return account, err
	}
	return account.Since(earlier)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scrapeAll adds up the metrics of some brokers.
func scrapeAll(ctx context.Context, from []string) (*bill.Account, error) {
	sum := &bill.Account{}
	for _, one := range from {
		a, err := accountOf(ctx, one)
		if err != nil {
			return nil, err
		}
		sum.Add(a)
	}
	return sum, nil
}

// accountOf reads metrics from a URL, or from a file, which is as old as it says.
func accountOf(ctx context.Context, from string) (*bill.Account, error) {
	if strings.Contains(from, "://") {
		return scrapeURL(ctx, from)
	}
	file, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return named(from)(bill.Read(file, info.ModTime()))
}

func scrapeURL(ctx context.Context, url string) (*bill.Account, error) {
	text, err := scrape.Text(ctx, url)
	if err != nil {
		return nil, err
	}
	return named(url)(bill.Read(bytes.NewReader(text), time.Now()))
}

// named adds to an error where the account was to come from.
func named(from string) func(*bill.Account, error) (*bill.Account, error) {
	return func(a *bill.Account, err error) (*bill.Account, error) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		return a, nil
	}
}
