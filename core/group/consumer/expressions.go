package consumer

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"

	"weir/core/coordinator"
	"weir/core/wire"
)

const (
	// expressionBytesMax bounds a regular expression, and expressionStepsMax what it is with its repetitions written out: to
	// match one costs that for each byte of each topic's name, and to compile one costs it on the loop.
	expressionBytesMax = 8 << 10
	expressionStepsMax = 16 << 10
	// resolvedBytesMax bounds what the expressions of a group match together, which is one batch: each member may have one that matches
	// every topic.
	resolvedBytesMax = 32 << 20
	// resolveIntervalMillis is the shortest time between two resolutions in one group, as in Kafka.
	resolveIntervalMillis = 10_000
)

// checkExpression refuses what is no regular expression of RE2. Kafka uses RE2/J, whose syntax is that of Go.
func checkExpression(text string) error {
	why := ""
	if len(text) > expressionBytesMax {
		return refuseExpression(text[:64]+"...", "expression is too long")
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	var fault *syntax.Error
	switch {
	case errors.As(err, &fault):
		why = fault.Code.String()
	case steps(parsed) > expressionStepsMax:
		why = "expression is too large"
	default:
		if _, err = regexp.Compile(whole(text)); err == nil {
			return nil
		}
		why = "expression is too large"
	}
	return refuseExpression(text, why)
}

func refuseExpression(text, why string) error {
	return refuse(wire.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.", text, why)
}

// steps is how large an expression is with its repetitions written out: eight KiB of it may be millions.
func steps(e *syntax.Regexp) int {
	n := 1
	if e.Op == syntax.OpLiteral {
		n = len(e.Rune)
	}
	for _, sub := range e.Sub {
		n += steps(sub)
	}
	if e.Op == syntax.OpRepeat {
		n *= max(e.Min+1, e.Max)
	}
	return n
}

// whole makes an expression match whole names only.
func whole(text string) string { return `\A(?:` + text + `)\z` }

// Resolve matches expressions against the names of all topics, sorted. It is a pure function, to be run off the loop. What
// is not valid matches nothing. If they match more than a group may have, it returns nil.
func Resolve(expressions, topics []string) map[string][]string {
	out := make(map[string][]string, len(expressions))
	room := int64(resolvedBytesMax)
	for _, text := range expressions {
		pattern, err := regexp.Compile(whole(text))
		if err != nil {
			out[text] = nil
			continue
		}
		var matched []string
		for _, topic := range topics {
			if pattern.MatchString(topic) {
				matched = append(matched, topic)
			}
		}
		out[text] = matched
		if room -= (&Resolved{Topics: matched}).bytes(text); room < 0 {
			return nil
		}
	}
	return out
}

// updateExpressions takes over the member's expression, and says what must be resolved.
func (h *heartbeat) updateExpressions() error {
	g, before, after := h.g, h.before.Expression, h.member.Expression
	isNew := false
	if h.expressionChanged = before != after; h.expressionChanged {
		if n, _ := g.subscribed.Get(before); n == 1 {
			h.write(h.key(TypeExpression, before), nil)
		}
		_, shared := g.subscribed.Get(after)
		_, h.expressionResolved = g.expressions.Get(after)
		switch {
		case after == "":
			h.expressionResolved = true
		case !shared:
			if err := checkExpression(after); err != nil {
				return err
			}
			isNew, h.expressionResolved = true, false
		}
	}
	if (isNew || g.subscribed.Len() > 0) && !g.soft.resolving {
		h.resolve = h.dueExpressions(isNew)
	}
	return nil
}

// dueExpressions lists all expressions of the group if they must be resolved now: some are new, or there are new
// topics, or it was long ago. They are resolved together, so that the group is assigned once.
func (h *heartbeat) dueExpressions(isNew bool) []string {
	now, last, version := h.c.NowMillis, int64(0), int64(0)
	h.g.expressions.Scan(func(_ string, r *Resolved) bool {
		last, version = r.Timestamp, r.Version
		return false
	})
	age := now - last
	if age < 0 { // the clock was set back
		age = resolveIntervalMillis + 1
	}
	if h.g.expressions.Len() > 0 && age <= resolveIntervalMillis {
		return nil
	}
	due := isNew || h.subscribedCount() != h.g.expressions.Len() || version < h.c.NewTopicsVersion || age > h.c.Config.ExpressionRefresh.Milliseconds()
	if !due {
		return nil
	}
	return h.subscribedExpressions()
}

// subscribedCount is how many subscribedExpressions lists, without a look at all of them: each heartbeat asks.
func (h *heartbeat) subscribedCount() int {
	n, before, after := h.g.subscribed.Len(), h.before.Expression, h.member.Expression
	if last, _ := h.g.subscribed.Get(before); last == 1 && before != after {
		n--
	}
	if _, shared := h.g.subscribed.Get(after); !shared && after != "" {
		n++
	}
	return n
}

// subscribedExpressions lists the expressions of all members, with the member as it will be.
func (h *heartbeat) subscribedExpressions() (all []string) {
	before, after := h.before.Expression, h.member.Expression
	h.g.subscribed.Scan(func(text string, n int) bool {
		if n > 1 || text != before || text == after {
			all = append(all, text)
		}
		return true
	})
	if _, shared := h.g.subscribed.Get(after); !shared && after != "" {
		all = append(all, after)
	}
	return all
}

// SetResolving notes that expressions are being resolved, or no longer are.
func (g *Group) SetResolving(on bool) { g.soft.resolving = on }

// Resolved decides on what expressions matched as of a version of the metadata image.
func (g *Group) Resolved(c *Context, version int64, resolved map[string][]string) (entries []coordinator.Entry) {
	bump := false
	for _, text := range sortedKeys(resolved) {
		if _, subscribed := g.subscribed.Get(text); !subscribed {
			continue
		}
		topics := resolved[text]
		bump = bump || !slices.Equal(topics, g.resolvedTopics(text))
		entries = append(entries, entry(Key{TypeExpression, g.ID, text}, expressionValue{Resolved{topics, version, c.NowMillis}}))
	}
	if hash := g.hashResolved(c, resolved); bump || hash != g.value.hash {
		entries = append(entries, entry(Key{TypeGroup, g.ID, ""}, groupValue{g.value.epoch + 1, hash}))
	}
	return entries
}

// ResolvedGrowth is how many bytes more the group holds with what its expressions matched.
func (g *Group) ResolvedGrowth(resolved map[string][]string) (more int64) {
	for _, text := range sortedKeys(resolved) {
		more += (&Resolved{Topics: resolved[text]}).bytes(text)
		if old, had := g.expressions.Get(text); had {
			more -= old.bytes(text)
		}
	}
	return more
}

// Resolving reports what SetResolving noted.
func (g *Group) Resolving() bool { return g.soft.resolving }
