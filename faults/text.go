package faults

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Digits after the point of a rate, which is a percentage, and of a factor.
const (
	rateDigits  = 4
	timesDigits = 3
)

// String is the fault's line, which [Parse] reads.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %s", f.Target, f.Effect)
	write := func(name, value string, set bool) {
		if set {
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
	}
	write("at", f.At.String(), f.At != 0)
	write("for", f.For.String(), f.For != 0)
	write("since", originNames[f.Since], f.Since != Serving)
	write("when", momentNames[f.When], f.When != AtOnce)
	write("rate", decimal(int64(f.Rate), rateDigits)+"%", f.Rate != 0)
	write("by", f.By.String(), f.By != 0)
	write("times", decimal(int64(f.Times), timesDigits), f.Times != 0)
	write("bytes", strconv.FormatInt(f.Bytes, 10), f.Bytes != 0)
	return b.String()
}

// Parse reads a fault's line, and validates it.
func Parse(line string) (Fault, error) {
	var f Fault
	words := strings.Fields(line)
	if len(words) < 2 {
		return f, fmt.Errorf("%q: a fault is a target, an effect, and then name=value", line)
	}
	var err error
	if f.Target, err = parseTarget(words[0]); err != nil {
		return f, err
	}
	f.Effect = Effect(words[1])
	var seen []string
	for _, word := range words[2:] {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return f, fmt.Errorf("%q is not name=value", word)
		}
		if slices.Contains(seen, name) {
			return f, fmt.Errorf("%s is there twice", name)
		}
		seen = append(seen, name)
		if err := f.parseField(name, value); err != nil {
			return f, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, f.Validate()
}

func (f *Fault) parseField(name, value string) (err error) {
	switch name {
	case "at":
		f.At, err = time.ParseDuration(value)
	case "for":
		f.For, err = time.ParseDuration(value)
	case "by":
		f.By, err = time.ParseDuration(value)
	case "bytes":
		f.Bytes, err = strconv.ParseInt(value, 10, 64)
	case "times":
		var n int64
		n, err = parseDecimal(value, timesDigits)
		f.Times = Times(n)
	case "rate":
		f.Rate, err = parseRate(value)
	case "since":
		var n int
		n, err = oneOf(value, originNames)
		f.Since = Origin(n)
	case "when":
		var n int
		n, err = oneOf(value, momentNames)
		f.When = Moment(n)
	default:
		err = fmt.Errorf("there is no such field")
	}
	return err
}

func parseRate(value string) (Rate, error) {
	number, ok := strings.CutSuffix(value, "%")
	if !ok {
		return 0, fmt.Errorf("%q is no percentage, such as 12.5%%", value)
	}
	n, err := parseDecimal(number, rateDigits)
	if err == nil && n == 0 {
		err = fmt.Errorf("a fault that strikes nothing is none: leave the line out")
	}
	return Rate(n), err
}

func oneOf(value string, names []string) (int, error) {
	i := slices.Index(names, value)
	if i < 0 || value == "" {
		return 0, fmt.Errorf("%q is none of %s", value, strings.TrimSpace(strings.Join(names, " ")))
	}
	return i, nil
}

// decimal writes a number of units of the last of so many digits after the point.
func decimal(n int64, digits int) string {
	text := fmt.Sprintf("%0*d", digits+1, n)
	point := len(text) - digits
	return strings.TrimSuffix(strings.TrimRight(text[:point]+"."+text[point:], "0"), ".")
}

func parseDecimal(text string, digits int) (int64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	if len(fraction) > digits {
		return 0, fmt.Errorf("%q has more than %d digits after the point", text, digits)
	}
	n, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", digits-len(fraction)), 10, 62)
	if err != nil || whole == "" {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return int64(n), nil
}

// String is the target's text.
func (t Target) String() string {
	switch t.Kind {
	case Brokers:
		return t.At.String()
	case Link:
		arrow := "->"
		if t.Both {
			arrow = "<->"
		}
		return "link:" + t.At.String() + arrow + t.To.String()
	}
	name := map[Kind]string{Disks: "disk:" + t.Disk, Store: "store", Clock: "clock"}[t.Kind]
	if t.At == (Party{}) {
		return name
	}
	return name + "@" + t.At.String()
}

func parseTarget(text string) (t Target, err error) {
	if link, ok := strings.CutPrefix(text, "link:"); ok {
		return parseLink(link)
	}
	what, where, placed := strings.Cut(text, "@")
	disk, isDisk := strings.CutPrefix(what, "disk:")
	switch {
	case isDisk:
		t.Kind, t.Disk = Disks, disk
	case what == "store":
		t.Kind = Store
	case what == "clock":
		t.Kind = Clock
	case placed:
		return t, fmt.Errorf("%q: only disks, store and clock are of a broker", text)
	default:
		t.At, err = parseParty(text)
		return t, err
	}
	if placed {
		t.At, err = parseParty(where)
	}
	return t, err
}

func parseLink(text string) (t Target, err error) {
	t.Kind = Link
	from, to, both := strings.Cut(text, "<->")
	if !both {
		var ok bool
		if from, to, ok = strings.Cut(text, "->"); !ok {
			return t, fmt.Errorf("link:%s: a link is link:A->B, or link:A<->B for both ways", text)
		}
	}
	t.Both = both
	if t.At, err = parseParty(from); err != nil {
		return t, err
	}
	t.To, err = parseParty(to)
	return t, err
}

// String is the party's text.
func (p Party) String() string {
	switch p.Role {
	case Node:
		return "node:" + strconv.FormatInt(p.Number, 10)
	case Zone:
		return "zone:" + p.Zone
	case Clients:
		return "clients"
	case Client:
		return "client:" + strconv.FormatInt(p.Number, 10)
	case Anyone:
		return "*"
	}
	return "nodes"
}

func parseParty(text string) (p Party, err error) {
	role, which, numbered := strings.Cut(text, ":")
	switch {
	case text == "nodes":
	case text == "clients":
		p.Role = Clients
	case text == "*":
		p.Role = Anyone
	case role == "zone":
		p.Role, p.Zone = Zone, which
	case role == "node" && numbered:
		p.Role = Node
		p.Number, err = strconv.ParseInt(which, 10, 64)
	case role == "client" && numbered:
		p.Role = Client
		p.Number, err = strconv.ParseInt(which, 10, 64)
	default:
		return p, fmt.Errorf("%q is no target: those are nodes, node:N, zone:NAME, disk:NAME, store, clock, and link:A->B between "+
			"nodes, node:N, zone:NAME, clients, client:N or *", text)
	}
	if err != nil {
		err = fmt.Errorf("%q has no number", text)
	}
	return p, err
}
