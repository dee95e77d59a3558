package bill

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
	"time"

	"weir/core/env"
)

// month is what providers bill by: 730 hours.
const month = 730 * time.Hour

// Print writes an account as a table by purpose, priced with one store's prices of a list.
func (l *PriceList) Print(w io.Writer, a *Account, p *Prices) error {
	fmt.Fprintf(w, "Prices of %s on %s, list prices in US dollars.\n", p.Name, l.Date)
	fmt.Fprintf(w, "Counted: %s of record batches written", size(a.Written))
	if a.Over > 0 {
		fmt.Fprintf(w, " in %v, %s/s", a.Over.Round(time.Second), size(int64(float64(a.Written)/a.Over.Seconds())))
	}
	fmt.Fprint(w, ".\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "purpose\tputs\tlists\tgets\tfree\tsent\treceived\tdollars\tper GiB written\tper month\t\n")
	for purpose := range env.Purposes {
		if a.Of(purpose) > 0 {
			printPurpose(t, a, p, purpose)
		}
	}
	requested := p.Requested(a)
	printSum(t, a, "all requests", requested)
	if a.CrossZone > 0 {
		printSum(t, a, "between zones, "+size(a.CrossZone), float64(a.CrossZone)/gib*p.CrossZoneGiB)
	}
	if a.Stored > 0 {
		fmt.Fprintf(t, "stored, %s\t\t\t\t\t\t\t\t\t%s\t\n", size(a.Stored), money(float64(a.Stored)/gib*p.StoredGiB))
	}
	return t.Flush()
}

// PrintPrices writes the list as a table.
func (l *PriceList) PrintPrices(w io.Writer) error {
	fmt.Fprintf(w, "List prices in US dollars on %s.\n\n", l.Date)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "store\t1000 puts\t1000 lists\t1000 gets\tGiB sent\tGiB received\tGiB stored a month\tGiB between zones\n")
	for i := range l.Stores {
		p := &l.Stores[i]
		fmt.Fprintf(t, "%s\t%v\t%v\t%v\t%v\t%v\t%v\t%v\n", p.Name,
			p.PutThousand, p.ListThousand, p.GetThousand, p.SentGiB, p.ReceivedGiB, p.StoredGiB, p.CrossZoneGiB)
	}
	return t.Flush()
}

func printPurpose(w io.Writer, a *Account, p *Prices, purpose env.Purpose) {
	n := func(kinds ...Request) (n int64) {
		for _, r := range kinds {
			n += a.Requests[r][purpose]
		}
		return n
	}
	dollars := p.Dollars(a, purpose)
	fmt.Fprintf(w, "%v\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t\n", purpose, n(Put, Multipart, Part, Copy), n(List), n(Get, Head), n(Delete, Abort),
		size(a.Sent[purpose]), size(a.Received[purpose]), money(dollars), a.perGiB(dollars), a.perMonth(dollars))
}

func printSum(w io.Writer, a *Account, name string, dollars float64) {
	fmt.Fprintf(w, "%s\t\t\t\t\t\t\t%s\t%s\t%s\t\n", name, money(dollars), a.perGiB(dollars), a.perMonth(dollars))
}

func (a *Account) perGiB(dollars float64) string {
	if a.Written <= 0 {
		return "-"
	}
	return money(dollars / (float64(a.Written) / gib))
}

func (a *Account) perMonth(dollars float64) string {
	if a.Over <= 0 {
		return "-"
	}
	return money(dollars * float64(month) / float64(a.Over))
}

// money has three digits, and no exponent.
func money(dollars float64) string {
	if dollars == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(dollars))))
	return strconv.FormatFloat(dollars, 'f', min(max(digits, 0), 12), 64)
}

func size(bytes int64) string {
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes >= 10<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d B", bytes)
}
