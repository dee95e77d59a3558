package diff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// sequences are the cases with state, and those that no change of one field makes.
func (s *script) sequences(versions map[int16][2]int16) {
	each := func(key, least int16, make func(version int16)) {
		span, ok := versions[key]
		if !ok {
			return
		}
		for version := max(least, span[0]); version <= span[1]; version++ {
			make(version)
		}
	}
	each(1, 7, s.fetchSessions)
	each(1, 0, s.fetchLimits)
	each(3, 0, s.names)
	each(20, 0, s.deletions)
	each(19, 0, s.creations)
	each(0, 3, s.produce)
	keys := slices.Sorted(maps.Keys(versions))
	for _, key := range keys {
		s.frames(key, versions[key])
	}
	s.configs()
	if _, ok := versions[11]; ok {
		s.groupLife(versions)
	}
}

// script gathers cases.
type script struct {
	serial int
	all    []*Case
}

// prefix is what the topics of the next case begin with.
func (s *script) prefix() string {
	s.serial++
	return fmt.Sprintf("%s%d-", runPrefix(), s.serial)
}

// add makes a case with topics of its own; its steps know their names.
func (s *script) add(name string, topics, fill int, steps func(topics []string) []step) {
	c := &Case{Name: name, own: s.prefix()}
	var names []string
	for i := range topics {
		names = append(names, fmt.Sprintf("%stopic%d", c.own, i))
		c.topics = append(c.topics, topicSpec{names[i], 2, fill})
	}
	c.steps = steps(names)
	s.all = append(s.all, c)
}

// read makes a case with topics that it shares with others.
func (s *script) read(name string, topics, fill int, steps func(topics []string) []step) {
	c := &Case{Name: name, own: s.prefix()}
	var names []string
	for i := range topics {
		names = append(names, fmt.Sprintf("%sread-%d-of-%d", runPrefix(), i, fill))
		c.reads = append(c.reads, topicSpec{names[i], 2, fill})
	}
	c.steps = steps(names)
	s.all = append(s.all, c)
}

func do(name string, build func(e *endpoint) kmsg.Request) step {
	return step{name: name, request: build}
}

func keepSession(e *endpoint, r kmsg.Response) {
	e.vars["session"] = int64(r.(*kmsg.FetchResponse).SessionID)
}

// sessionFetch is a fetch in the session, at an epoch, of partitions of one topic from offset 0, with the last forgotten.
func sessionFetch(version int16, topic string, epoch int32, parts, forget []int32, offset int64) step {
	return step{name: fmt.Sprintf("fetch epoch %d of %v, forget %v", epoch, parts, forget), keep: keepSession, request: func(e *endpoint) kmsg.Request {
		r := fetch(version, topic, e.id(topic), 0, offset)
		r.SessionID, r.SessionEpoch = int32(e.vars["session"]), epoch
		one := r.Topics[0].Partitions[0]
		r.Topics[0].Partitions = nil
		for _, p := range parts {
			one.Partition = p
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, one)
		}
		if len(parts) == 0 {
			r.Topics = nil
		}
		if len(forget) > 0 {
			r.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{Topic: topic, TopicID: e.id(topic), Partitions: forget}}
		}
		return r
	}}
}

func (s *script) fetchSessions(version int16) {
	name := func(what string) string { return fmt.Sprintf("Fetch/v%d/session-%s", version, what) }
	at := func(topic string, epoch int32, parts, forget []int32) step {
		return sessionFetch(version, topic, epoch, parts, forget, 0)
	}
	atEnd := func(topic string, epoch int32, parts []int32) step {
		return sessionFetch(version, topic, epoch, parts, nil, 3)
	}
	plain := map[string]func(t string) []step{
		"empty-open": func(t string) []step { return []step{at(t, 0, nil, nil), at(t, 1, []int32{0}, nil)} },
		"again": func(t string) []step {
			return []step{at(t, 0, []int32{0, 1}, nil), at(t, 1, nil, nil), at(t, 2, nil, nil)}
		},
		"nothing-new": func(t string) []step { return []step{atEnd(t, 0, []int32{0}), atEnd(t, 1, nil), atEnd(t, 2, nil)} },
		"forget": func(t string) []step {
			return []step{at(t, 0, []int32{0, 1}, nil), at(t, 1, nil, []int32{0}), at(t, 2, nil, nil)}
		},
		"forget-all": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 1, nil, []int32{0}), at(t, 2, nil, nil)}
		},
		"forget-all-add": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 1, nil, []int32{0}), at(t, 2, []int32{0}, nil)}
		},
		"add-and-forget": func(t string) []step {
			return []step{at(t, 0, []int32{0, 1}, nil), at(t, 1, []int32{0}, []int32{0}), at(t, 2, nil, nil)}
		},
		"add-forget-fresh": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 1, []int32{1}, []int32{1}), at(t, 2, nil, nil)}
		},
		"forget-absent": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 1, nil, []int32{9}), at(t, 2, nil, nil)}
		},
		"old-epoch": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 2, nil, nil), at(t, 1, nil, nil)}
		},
		"close": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, -1, []int32{0}, nil), at(t, 1, nil, nil)}
		},
		"reopen": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), at(t, 0, []int32{1}, nil), at(t, 1, nil, nil)}
		},
		"unknown":       func(t string) []step { return []step{at(t, 5, []int32{0}, nil)} },
		"epoch-min":     func(t string) []step { return []step{at(t, -1<<31, []int32{0}, nil)} },
		"epoch-minus-2": func(t string) []step { return []step{at(t, 0, []int32{0}, nil), at(t, -2, nil, nil)} },
		"twice":         func(t string) []step { return []step{at(t, 0, []int32{0, 0}, nil), at(t, 1, []int32{1, 1}, nil)} },
		"unknown-part":  func(t string) []step { return []step{at(t, 0, []int32{0, 9}, nil), at(t, 1, nil, nil)} },
		"deleted-topic": func(t string) []step {
			return []step{at(t, 0, []int32{0}, nil), deleteTopic(t), gone(t), at(t, 1, nil, nil), at(t, 2, nil, nil)}
		},
		"forget-in-open": func(t string) []step { return []step{at(t, 0, []int32{0, 1}, []int32{1}), at(t, 1, nil, nil)} },
	}
	for _, what := range sorted(plain) {
		add := s.read
		if what == "deleted-topic" {
			add = s.add
		}
		add(name(what), 1, 3, func(topics []string) []step { return plain[what](topics[0]) })
	}
}

func deleteTopic(topic string) step {
	return do("delete", func(*endpoint) kmsg.Request {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Version, r.TimeoutMillis, r.TopicNames = 5, 5000, []string{topic}
		return r
	})
}

func gone(topic string) step {
	return step{name: "metadata", shows: true, until: isGone, request: func(*endpoint) kmsg.Request { return metadataOf(9, topic) }}
}

// shown shows a topic as it is, and gone waits until it is not there.
func shown(topic string) step {
	st := gone(topic)
	st.until = nil
	return st
}

func isGone(r kmsg.Response) bool {
	topics := r.(*kmsg.MetadataResponse).Topics
	return len(topics) == 0 || topics[0].ErrorCode != 0
}

// fetchLimits are byte limits over several partitions, and partitions named twice.
func (s *script) fetchLimits(version int16) {
	type limits struct {
		maxBytes, partBytes int32
		min                 int32
	}
	for _, l := range []limits{{1, 1, 1}, {1 << 20, 1, 1}, {1 << 20, 100, 1}, {100, 1 << 20, 1}, {150, 150, 1}, {1 << 20, 0, 0}, {0, 0, 0}, {200, 1, 1}, {1 << 20, 1 << 20, 1 << 20}} {
		s.read(fmt.Sprintf("Fetch/v%d/limits-%d-%d-%d", version, l.maxBytes, l.partBytes, l.min), 2, 3, func(topics []string) []step {
			return []step{do("fetch", func(e *endpoint) kmsg.Request {
				r := fetch(version, topics[0], e.id(topics[0]), 0, 0)
				r.Topics = append(r.Topics, fetch(version, topics[1], e.id(topics[1]), 0, 0).Topics...)
				r.MaxBytes, r.MinBytes = l.maxBytes, l.min
				for i := range r.Topics {
					r.Topics[i].Partitions[0].PartitionMaxBytes = l.partBytes
				}
				return r
			})}
		})
	}
	s.read(fmt.Sprintf("Fetch/v%d/twice-different-offsets", version), 1, 3, func(topics []string) []step {
		return []step{do("fetch", func(e *endpoint) kmsg.Request {
			r := fetch(version, topics[0], e.id(topics[0]), 0, 0)
			p := r.Topics[0].Partitions[0]
			p.FetchOffset = 2
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
			return r
		})}
	})
}

// names are Metadata requests for several topics, by name, by id and both.
func (s *script) names(version int16) {
	name := func(what string) string { return fmt.Sprintf("Metadata/v%d/%s", version, what) }
	ask := func(what string, change func(e *endpoint, r *kmsg.MetadataRequest, t string)) {
		s.read(name(what), 1, 0, func(topics []string) []step {
			return []step{do("metadata", func(e *endpoint) kmsg.Request {
				r := metadataOf(version, topics[0])
				change(e, r, topics[0])
				return r
			})}
		})
	}
	absentOf := func(version int16) string { return fmt.Sprintf("%sabsent-v%d", runPrefix(), version) }
	ask("two", func(_ *endpoint, r *kmsg.MetadataRequest, t string) {
		r.Topics = metadataOf(version, t, absentOf(version)).Topics
	})
	ask("internal", func(_ *endpoint, r *kmsg.MetadataRequest, t string) {
		r.Topics = metadataOf(version, "__cluster_metadata").Topics
	})
	ask("no-create", func(_ *endpoint, r *kmsg.MetadataRequest, t string) {
		r.Topics, r.AllowAutoTopicCreation = metadataOf(version, absentOf(version)).Topics, false
	})
	if version < 10 {
		return
	}
	ask("by-id", func(e *endpoint, r *kmsg.MetadataRequest, t string) {
		r.Topics[0].Topic, r.Topics[0].TopicID = nil, e.id(t)
	})
	ask("by-unknown-id", func(_ *endpoint, r *kmsg.MetadataRequest, t string) {
		r.Topics[0].Topic, r.Topics[0].TopicID = nil, strangeID
	})
	ask("by-id-and-name", func(e *endpoint, r *kmsg.MetadataRequest, t string) { r.Topics[0].TopicID = e.id(t) })
	ask("by-id-then-name", func(e *endpoint, r *kmsg.MetadataRequest, t string) {
		one := kmsg.NewMetadataRequestTopic()
		one.TopicID = e.id(t)
		r.Topics = append(r.Topics, one)
	})
}

func (s *script) deletions(version int16) {
	if version < 6 {
		s.add(fmt.Sprintf("DeleteTopics/v%d/two", version), 2, 0, func(t []string) []step {
			return []step{do("delete", func(*endpoint) kmsg.Request {
				r := kmsg.NewPtrDeleteTopicsRequest()
				r.Version, r.TimeoutMillis, r.TopicNames = version, 5000, []string{t[0], "absent", t[1], t[0]}
				return r
			}), shown(t[0]), shown(t[1])}
		})
		return
	}
	forms := map[string]func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic{
		"by-id": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: e.id(t)}}
		},
		"by-id-twice": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: e.id(t)}, {TopicID: e.id(t)}}
		},
		"by-id-and-name": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: e.id(t), Topic: &t}}
		},
		"by-id-then-name": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: e.id(t)}, {Topic: &t}}
		},
		"unknown-twice": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{TopicID: strangeID}, {TopicID: strangeID}}
		},
		"absent-twice": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("absent")}, {Topic: kmsg.StringPtr("absent")}}
		},
		"nothing": func(e *endpoint, t string) []kmsg.DeleteTopicsRequestTopic {
			return []kmsg.DeleteTopicsRequestTopic{{}}
		},
	}
	for _, what := range sorted(forms) {
		s.add(fmt.Sprintf("DeleteTopics/v%d/%s", version, what), 1, 0, func(t []string) []step {
			return []step{do("delete", func(e *endpoint) kmsg.Request {
				r := kmsg.NewPtrDeleteTopicsRequest()
				r.Version, r.TimeoutMillis, r.Topics = version, 5000, forms[what](e, t[0])
				return r
			}), shown(t[0])}
		})
	}
}

func (s *script) creations(version int16) {
	forms := map[string]func(r *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic){
		"defaults": func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
		},
		"validate":   func(r *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) { r.ValidateOnly = true },
		"assignment": func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) { assign(t, -1, -1, []int32{1}) },
		"assignment-and-count": func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) {
			assign(t, 1, 1, []int32{1})
		},
		"assignment-unknown-broker": func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) { assign(t, -1, -1, []int32{99}) },
		"assignment-twice":          func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) { assign(t, -1, -1, []int32{1, 1}) },
		"assignment-empty":          func(_ *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) { assign(t, -1, -1, []int32{}) },
		"exists":                    func(r *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) {},
		"collides": func(r *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic) {
			r.Topics = append(r.Topics, *t)
			r.Topics[1].Topic += ".x"
		},
	}
	for _, what := range sorted(forms) {
		c := &Case{Name: fmt.Sprintf("CreateTopics/v%d/%s", version, what), own: s.prefix()}
		topic := c.own + "topic"
		create := do("create", func(*endpoint) kmsg.Request {
			r := kmsg.NewPtrCreateTopicsRequest()
			r.Version, r.TimeoutMillis = version, 5000
			t := kmsg.NewCreateTopicsRequestTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = topic, 2, 1
			r.Topics = append(r.Topics, t)
			forms[what](r, &r.Topics[0])
			return r
		})
		c.steps = []step{create, shown(topic)}
		if what == "exists" {
			c.steps = append(c.steps, create)
		}
		c.steps = append(c.steps, deleteTopic(topic))
		s.all = append(s.all, c)
	}
}

func assign(t *kmsg.CreateTopicsRequestTopic, count int32, factor int16, replicas []int32) {
	t.NumPartitions, t.ReplicationFactor = count, factor
	t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: replicas}}
}

// produce are repeated partitions and acknowledgement levels beside errors.
func (s *script) produce(version int16) {
	for _, acks := range []int16{0, 1, -1, 2, -2} {
		for _, absent := range []bool{false, true} {
			s.add(fmt.Sprintf("Produce/v%d/acks-%d-absent-%v", version, acks, absent), 1, 0, func(t []string) []step {
				return []step{do("produce", func(e *endpoint) kmsg.Request {
					r := produce(version, t[0], e.id(t[0]), 0, batch(baseTimestamp, 1))
					r.Acks = acks
					if absent {
						r.Topics[0].Partitions[0].Partition = 9
					}
					return r
				}), {name: "end", shows: true, request: func(*endpoint) kmsg.Request { return listOffsets(7, t[0], 0, -1) }}}
			})
		}
	}
}

// frames are requests whose frame is unusual: bytes behind the body, long client ids. The body is empty otherwise.
func (s *script) frames(key int16, span [2]int16) {
	low, high := span[0], min(span[1], kmsg.RequestForKey(key).MaxVersion())
	if key == 0 {
		low = 3
	}
	for _, version := range slices.Compact([]int16{low, high}) {
		one := func(what string, raw func([]byte) []byte) {
			st := do("request", func(*endpoint) kmsg.Request {
				r := kmsg.RequestForKey(key)
				r.SetVersion(version)
				return r
			})
			st.raw = raw
			again := do("then ListOffsets", func(*endpoint) kmsg.Request { return listOffsets(7, "absent", 0, -1) })
			s.all = append(s.all, &Case{Name: fmt.Sprintf("%s/v%d/frame-%s", kmsg.NameForKey(key), version, what), own: s.prefix(), steps: []step{st, again}})
		}
		one("empty", nil)
		one("cut", func(b []byte) []byte { return b[:len(b)-1] })
		one("trailing-bytes", func(b []byte) []byte { return append(b, 1, 2, 3) })
		one("long-client-id", func(b []byte) []byte { return withClientID(b, 2000) })
		one("null-client-id", func(b []byte) []byte { return withClientID(b, -1) })
	}
}

// withClientID replaces the client id "weir-diff" of a header by one of n bytes; -1 is null.
func withClientID(b []byte, n int) []byte {
	out := append([]byte{}, b[:8]...)
	out = append(out, byte(n>>8), byte(n))
	if n > 0 {
		out = append(out, strings.Repeat("c", n)...)
	}
	return append(out, b[10+len("weir-diff"):]...)
}

// configs are single keys and values.
func (s *script) configs() {
	pairs := [][2]string{
		{"retention.bytes", "-2"},
		{"retention.bytes", "-1"},
		{"retention.ms", "-1"},
		{"retention.ms", "-2"},
		{"retention.ms", "1e-1"},
		{"min.cleanable.dirty.ratio", "1e-1"},
		{"min.cleanable.dirty.ratio", "2"},
		{"max.message.bytes", "-1"},
		{"max.message.bytes", "0"},
		{"compression.type", "zstd"},
		{"compression.type", "none"},
		{"compression.type", "ZSTD"},
		{"cleanup.policy", "compact,delete"},
		{"cleanup.policy", ""},
		{"cleanup.policy", "none"},
		{"internal.segment.bytes", "1000"},
		{"remote.log.copy.disable", "true"},
		{"leader.replication.throttled.replicas", "*,0:1"},
		{"leader.replication.throttled.replicas", "*"},
		{"leader.replication.throttled.replicas", "0:1"},
		{"min.insync.replicas", "0"},
		{"min.insync.replicas", "2"},
		{"no.such.key", "1"},
		{"segment.bytes", "13"},
		{"segment.bytes", "1048576"},
		{"message.timestamp.type", "LogAppendTime"},
		{"message.timestamp.type", "x"},
		{"unclean.leader.election.enable", "TRUE"},
		{"unclean.leader.election.enable", "yes"},
		{"max.decompressed.message.bytes", "100"},
		{"errors.deadletterqueue.group.enable", "true"},
		{"remote.copy.lag.bytes", "1"},
		{"remote.storage.enable", "true"},
		{"local.retention.ms", "-2"},
		{"flush.messages", "0"},
		{"segment.jitter.ms", "-1"},
	}
	for _, p := range pairs {
		for op := range 4 {
			s.add(fmt.Sprintf("IncrementalAlterConfigs/v1/%s=%s op %d", p[0], p[1], op), 1, 0, func(t []string) []step {
				return []step{do("alter", func(*endpoint) kmsg.Request {
					r := kmsg.NewPtrIncrementalAlterConfigsRequest()
					r.Version = 1
					r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: t[0], Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: p[0], Op: kmsg.IncrementalAlterConfigOp(op), Value: &p[1]}}}}
					return r
				}), {name: "describe", shows: true, request: func(*endpoint) kmsg.Request { return describeConfigs(2, t[0], p[0]) }}}
			})
		}
	}
	for _, kind := range []int8{0, 2, 3, 8, 64, -1} {
		s.read(fmt.Sprintf("ListConfigResources/v1/resource-%d", kind), 1, 0, func([]string) []step {
			return []step{do("list", func(*endpoint) kmsg.Request {
				r := kmsg.NewPtrListConfigResourcesRequest()
				r.Version, r.ResourceTypes = 1, []int8{kind}
				return r
			})}
		})
	}
	for _, kind := range []kmsg.ConfigResourceType{4, 8, 16, 32} {
		for _, name := range []string{"", "1", "absent"} {
			s.add(fmt.Sprintf("DescribeConfigs/v4/resource-%d-%q", kind, name), 0, 0, func([]string) []step {
				return []step{do("describe", func(*endpoint) kmsg.Request { return describeConfigs(kind, name) })}
			})
		}
	}
}
