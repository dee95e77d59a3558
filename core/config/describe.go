package config

import (
	"slices"
	"strconv"
	"strings"
)

// Entry is one key with its effective value and where that comes from.
type Entry struct {
	*Definition
	// Value is nil if there is none, and if it must not be shown.
	Value  *string
	Source Source
	// Origin is the source in words: flag, environment, file, default, cluster metadata.
	Origin string
	// ReadOnly: no request can change it.
	ReadOnly bool
	// Chain is every place that has a value for this key, the strongest first.
	Chain []ChainLink
}

// ChainLink is one place that has a value: Kafka's synonym.
type ChainLink struct {
	Key    string
	Value  *string
	Source Source
}

// DescribeTopic lists every topic key, sorted. A key that is set on the topic is
// the topic's even if the value is the default. The entries are lent, and the same for
// all topics without overrides until a setting changes.
func (s *Settings) DescribeTopic(overrides []Override) []Entry {
	if s.topicEntries == nil {
		s.topicEntries = make([]Entry, len(topicKeys))
		for i := range topicKeys {
			s.topicEntries[i].Definition = &topicKeys[i]
			s.describe(&s.topicEntries[i], true)
		}
	}
	if len(overrides) == 0 {
		return s.topicEntries
	}
	entries := slices.Clone(s.topicEntries)
	for _, o := range overrides {
		if i := slices.IndexFunc(s.topicEntries, func(e Entry) bool { return e.Key == o.Key }); i >= 0 {
			entries[i] = ofTopic(entries[i].Definition, o)
			s.describe(&entries[i], true)
		}
		if o.Key == internalSegmentBytes.Key { // listed only where it is set, as in Kafka
			entries = append(entries, ofTopic(&internalSegmentBytes, o))
		}
	}
	return entries
}

// ofTopic is the entry of a key that is set on a topic, without what lies below.
func ofTopic(d *Definition, o Override) Entry {
	e := Entry{Definition: d}
	e.add(o.Key, o.Value, DynamicTopic, "cluster metadata")
	e.Value = e.Chain[0].Value
	return e
}

// DescribeGroup lists every group key, sorted.
func (s *Settings) DescribeGroup(overrides []Override) []Entry {
	entries := make([]Entry, len(groupKeys))
	for i := range groupKeys {
		e := &entries[i]
		e.Definition = &groupKeys[i]
		if own, ok := get(overrides, e.Key); ok {
			e.add(e.Key, own, DynamicGroup, "cluster metadata")
		}
		for _, synonym := range e.Synonyms {
			if _, ok := BrokerKey(synonym.Key); !ok { // of groups that are not served
				e.add(synonym.Key, *e.Default, Default, "default")
				continue
			}
			s.lookup(synonym, func(v value) bool {
				e.add(v.Key, v.text, v.source, v.origin)
				return true
			})
		}
		e.Value = e.Chain[0].Value
	}
	return entries
}

// DescribeBroker lists every broker key, sorted.
func (s *Settings) DescribeBroker() []Entry {
	entries := make([]Entry, len(brokerKeys))
	for i := range brokerKeys {
		e := &entries[i]
		e.Definition = &brokerKeys[i]
		e.ReadOnly = e.Update == ReadOnly
		s.describe(e, false)
	}
	return entries
}

// DescribeDefaults lists the keys that were changed for all brokers at run time, without the defaults below, as in
// Kafka.
func (s *Settings) DescribeDefaults() (entries []Entry) {
	for _, o := range s.shared {
		d, ok := BrokerKey(o.Key)
		if !ok {
			continue
		}
		e := Entry{Definition: d}
		e.add(o.Key, o.Value, DynamicDefault, "cluster metadata")
		e.Value = e.Chain[0].Value
		entries = append(entries, e)
	}
	return entries
}

// describe adds what lies below a topic's own value.
func (s *Settings) describe(e *Entry, ofTopic bool) {
	s.chain(e.Definition, ofTopic, func(v value) bool {
		if v.source == Default && v.Times != 1 {
			return true // a default in another unit is no synonym to Kafka
		}
		e.add(v.Key, v.text, v.source, v.origin)
		if len(e.Chain) == 1 && !e.Sensitive() {
			text := e.canonical(multiplied(v))
			e.Value = &text
		}
		return true
	})
	if len(e.Chain) == 0 {
		e.Source, e.Origin, e.Value = Default, "default", e.Default
	}
}

// canonical is a value as Kafka shows it: a boolean in small letters.
func (d *Definition) canonical(text string) string {
	if d.Type == Boolean {
		return strings.ToLower(text)
	}
	return text
}

func (e *Entry) add(key, text string, source Source, origin string) {
	if len(e.Chain) == 0 {
		e.Source, e.Origin = source, origin
	}
	text = e.canonical(text)
	link := ChainLink{Key: key, Source: source}
	if !e.Sensitive() {
		link.Value = &text
	}
	e.Chain = append(e.Chain, link)
}

// multiplied is the text of a synonym's value in the unit of the key it stands in for.
func multiplied(v value) string {
	if v.Times == 1 {
		return v.text
	}
	n, err := parseInteger(v.text)
	if err != nil || n < 0 {
		return v.text // -1 means for ever in any unit
	}
	return strconv.FormatInt(n*v.Times, 10)
}
