package bill

import (
	"bytes"
	_ "embed" // the default list
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/core/env"
)

// defaultPrices are the prices known when this version was made.
//
//go:embed prices.json
var defaultPrices []byte

// PriceList is a dated list of what stores cost.
type PriceList struct {
	// Date is when the sources were last read, as 2006-01-02.
	Date string `json:"date"`
	// Stores has at least one row. The first is the one that is used if none is named.
	Stores []Prices `json:"stores"`
}

// Prices are what one store in one place costs, in US dollars; 0 is free. A GiB is 2^30 bytes, also where the
// provider calls it a GB.
type Prices struct {
	Name    string   `json:"name"`    // unique in its list
	Sources []string `json:"sources"` // where the prices were read

	PutThousand  float64 `json:"put_1000"`  // for 1,000 puts, parts, begins and joins of multipart uploads
	ListThousand float64 `json:"list_1000"` // for 1,000 pages of listings
	GetThousand  float64 `json:"get_1000"`  // for 1,000 gets and heads
	SentGiB      float64 `json:"sent_gib"`  // for each GiB that is sent to the store
	ReceivedGiB  float64 `json:"received_gib"`
	StoredGiB    float64 `json:"stored_gib_month"` // for each GiB that is stored for a month
	CrossZoneGiB float64 `json:"cross_zone_gib"`   // for each GiB from one zone to another; the sum, if both ends pay
}

// DefaultPrices returns the list that is built in.
func DefaultPrices() *PriceList {
	l, err := ParsePrices(defaultPrices)
	if err != nil {
		panic(err) // a test reads it
	}
	return l
}

// ParsePrices reads a price list: JSON, with the fields of [PriceList].
func ParsePrices(text []byte) (*PriceList, error) {
	l := &PriceList{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if _, err := time.Parse(time.DateOnly, l.Date); err != nil {
		return nil, fmt.Errorf("price list: the date must be one like 2006-01-02: %w", err)
	}
	if len(l.Stores) == 0 {
		return nil, errors.New("price list: it has no stores")
	}
	for i := range l.Stores {
		if err := l.validate(i); err != nil {
			return nil, fmt.Errorf("price list, store %d %q: %w", i+1, l.Stores[i].Name, err)
		}
	}
	return l, nil
}

func (l *PriceList) validate(i int) error {
	p := &l.Stores[i]
	switch lowest := min(p.PutThousand, p.ListThousand, p.GetThousand, p.SentGiB, p.ReceivedGiB, p.StoredGiB, p.CrossZoneGiB); {
	case p.Name == "":
		return errors.New("it has no name")
	case slices.ContainsFunc(l.Stores[:i], func(o Prices) bool { return o.Name == p.Name }):
		return errors.New("another one has its name")
	case len(p.Sources) == 0:
		return errors.New("it names no sources")
	case lowest < 0:
		return errors.New("a price is negative")
	}
	return nil
}

// Store returns the prices of a store by name; an empty name is the first.
func (l *PriceList) Store(name string) (*Prices, error) {
	var names []string
	for i := range l.Stores {
		if name == "" || l.Stores[i].Name == name {
			return &l.Stores[i], nil
		}
		names = append(names, l.Stores[i].Name)
	}
	return nil, fmt.Errorf("the price list of %s has no store %q; it has %s", l.Date, name, strings.Join(names, ", "))
}

const gib = 1 << 30

// Dollars is the price of all requests and bytes for a purpose.
func (p *Prices) Dollars(a *Account, purpose env.Purpose) (dollars float64) {
	for r := range Requests {
		dollars += float64(a.Requests[r][purpose]) / 1000 * p.thousand(r)
	}
	return dollars + float64(a.Sent[purpose])/gib*p.SentGiB + float64(a.Received[purpose])/gib*p.ReceivedGiB
}

// Requested is the price of all requests and bytes, for any purpose.
func (p *Prices) Requested(a *Account) (dollars float64) {
	for purpose := range env.Purposes {
		dollars += p.Dollars(a, purpose)
	}
	return dollars
}

func (p *Prices) thousand(r Request) float64 {
	switch r {
	case Put, Multipart, Part, Copy:
		return p.PutThousand
	case List:
		return p.ListThousand
	case Get, Head:
		return p.GetThousand
	}
	return 0 // deletes and aborts are free everywhere
}
