package assign

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Apache Kafka 4.4.0 made the results in testdata/range.txt.
func TestRangeAsKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/range.txt")
	require.NoError(t, err)
	for i, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		g, want := parseCase(t, block)
		require.Equal(t, want, show(g, Range(g)), "case %d:\n%s", i+1, block)
	}
}

// parseCase reads a block: topics, members, the assignor's name, and then the result.
func parseCase(t *testing.T, block string) (*Group, string) {
	g, lines := &Group{}, strings.Split(block, "\n")
	for i, line := range lines {
		f := strings.Fields(line)
		switch f[0] {
		case "topics":
			g.Partitions = numbers(t, f[1])
		case "member":
			m := Member{ID: f[1], Subscription: len(g.Subscriptions)}
			if f[2] != "-" {
				m.InstanceID = f[2]
			}
			g.Subscriptions = append(g.Subscriptions, numbers(t, f[3]))
			if len(f) > 4 {
				for _, held := range strings.Split(f[4], ";") {
					topic, partitions, _ := strings.Cut(held, ":")
					m.Holds = append(m.Holds, Partitions{numbers(t, topic)[0], numbers(t, partitions)})
				}
			}
			g.Members = append(g.Members, m)
		default:
			var result []string
			for _, line := range lines[i+1:] {
				result = append(result, strings.TrimSpace(line))
			}
			return g, strings.Join(result, "\n")
		}
	}
	t.Fatal("a case without a result")
	return nil, ""
}

func numbers(t *testing.T, text string) (out []int32) {
	for _, s := range strings.Split(text, ",") {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		out = append(out, int32(n))
	}
	return out
}

func show(g *Group, result [][]Partitions) string {
	var lines []string
	for m, held := range result {
		var topics []string
		for _, h := range held {
			topics = append(topics, fmt.Sprintf("%d:%s", h.Topic, strings.ReplaceAll(strings.Trim(fmt.Sprint(h.Partitions), "[]"), " ", ",")))
		}
		lines = append(lines, strings.TrimSpace(g.Members[m].ID+" "+strings.Join(topics, ";")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func drawGroup(t *rapid.T) *Group {
	g := &Group{Partitions: rapid.SliceOfN(rapid.Int32Range(0, 12), 1, 6).Draw(t, "partitions")}
	topics := rapid.SliceOfDistinct(rapid.Int32Range(0, int32(len(g.Partitions))-1), rapid.ID[int32])
	for range rapid.IntRange(1, 3).Draw(t, "subscriptions") {
		set := topics.Draw(t, "topics")
		slices.Sort(set)
		g.Subscriptions = append(g.Subscriptions, set)
	}
	for i := range rapid.IntRange(1, 8).Draw(t, "members") {
		m := Member{ID: fmt.Sprintf("m%d", i), Subscription: rapid.IntRange(0, len(g.Subscriptions)-1).Draw(t, "subscription")}
		if rapid.Bool().Draw(t, "static") {
			m.InstanceID = fmt.Sprintf("i%d", (i*5)%8)
		}
		for topic := range int32(len(g.Partitions)) {
			// Of any topic, subscribed or not, and partitions that may not be there, or have two owners.
			if held := rapid.SliceOfDistinct(rapid.Int32Range(0, 14), rapid.ID[int32]).Draw(t, "holds"); len(held) > 0 {
				slices.Sort(held)
				m.Holds = append(m.Holds, Partitions{topic, held})
			}
		}
		g.Members = append(g.Members, m)
	}
	return g
}

// checkValid: every partition of a topic with a subscriber has exactly one owner, and that is a subscriber.
func checkValid(t require.TestingT, g *Group, result [][]Partitions) {
	owners := map[[2]int32]int{}
	require.Len(t, result, len(g.Members))
	for m, held := range result {
		topics := g.Subscriptions[g.Members[m].Subscription]
		require.True(t, slices.IsSortedFunc(held, func(a, b Partitions) int { return int(a.Topic - b.Topic) }))
		for _, h := range held {
			require.Contains(t, topics, h.Topic)
			require.True(t, slices.IsSorted(h.Partitions))
			for _, p := range h.Partitions {
				require.Less(t, p, g.Partitions[h.Topic])
				_, taken := owners[[2]int32{h.Topic, p}]
				require.False(t, taken, "partition %d of topic %d has two owners", p, h.Topic)
				owners[[2]int32{h.Topic, p}] = m
			}
		}
	}
	for _, m := range g.Members {
		for _, topic := range g.Subscriptions[m.Subscription] {
			for p := range g.Partitions[topic] {
				require.Contains(t, owners, [2]int32{topic, p}, "has no owner")
			}
		}
	}
}

func total(held []Partitions) (n int) {
	for _, h := range held {
		n += len(h.Partitions)
	}
	return n
}

// checkBalanced: no single move evens out two members.
func checkBalanced(t require.TestingT, g *Group, result [][]Partitions) {
	for from, held := range result {
		for _, h := range held {
			for to, m := range g.Members {
				if slices.Contains(g.Subscriptions[m.Subscription], h.Topic) {
					require.Less(t, total(result[from]), total(result[to])+2, "from %d to %d of topic %d", from, to, h.Topic)
				}
			}
		}
	}
}

// holding is the group once its members hold a result.
func holding(g *Group, result [][]Partitions) *Group {
	next := *g
	next.Members = slices.Clone(g.Members)
	for i := range next.Members {
		next.Members[i].Holds = result[i]
	}
	return &next
}

func TestAssignors(t *testing.T) {
	for _, name := range Names {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			g, assign := drawGroup(t), Find(name)
			result := assign(g)
			checkValid(t, g, result)
			// Again from there, nothing moves.
			require.Equal(t, show(g, result), show(g, assign(holding(g, result))))
			// The order of members does not count.
			permuted := *g
			permuted.Members = rapid.Permutation(g.Members).Draw(t, "permuted")
			require.Equal(t, show(g, result), show(&permuted, assign(&permuted)))
			if name == "uniform" {
				checkBalanced(t, g, result)
			}
		}))
	}
}

// Whatever balanced assignment members hold, uniform keeps it: any of them may have the extra partition (KAFKA-18688).
func TestUniformKeepsWhatIsBalanced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &Group{Partitions: rapid.SliceOfN(rapid.Int32Range(0, 20), 1, 4).Draw(t, "partitions")}
		var all [][2]int32
		g.Subscriptions = [][]int32{nil}
		for topic, count := range g.Partitions {
			g.Subscriptions[0] = append(g.Subscriptions[0], int32(topic))
			for p := range count {
				all = append(all, [2]int32{int32(topic), p})
			}
		}
		all = rapid.Permutation(all).Draw(t, "order")
		count := rapid.IntRange(1, 7).Draw(t, "members")
		for m := range count {
			member := Member{ID: fmt.Sprint(m)}
			var mine [][2]int32
			for i := m; i < len(all); i += count {
				mine = append(mine, all[i])
			}
			slices.SortFunc(mine, func(a, b [2]int32) int { return slices.Compare(a[:], b[:]) })
			for _, tp := range mine {
				member.Holds = put(member.Holds, tp[0], tp[1])
			}
			g.Members = append(g.Members, member)
		}
		result := Uniform(g)
		for i := range g.Members {
			require.Equal(t, g.Members[i].Holds, result[i])
		}
	})
}

// A member that joins or leaves moves no more partitions than it must.
func TestUniformMovesFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &Group{Partitions: rapid.SliceOfN(rapid.Int32Range(1, 30), 1, 4).Draw(t, "partitions")}
		g.Subscriptions = [][]int32{nil}
		partitions := 0
		for topic, count := range g.Partitions {
			g.Subscriptions[0] = append(g.Subscriptions[0], int32(topic))
			partitions += int(count)
		}
		for m := range rapid.IntRange(1, 7).Draw(t, "members") {
			g.Members = append(g.Members, Member{ID: fmt.Sprint(m)})
		}
		before := holding(g, Uniform(g))
		joined := *before
		joined.Members = append(slices.Clone(before.Members), Member{ID: "4x"})
		result := Uniform(&joined)
		require.Equal(t, partitions/len(joined.Members), total(result[len(result)-1]))
		require.Equal(t, total(result[len(result)-1]), moves(&joined, result))

		left := *before
		left.Members = before.Members[1:]
		if len(left.Members) > 0 {
			require.Equal(t, total(before.Members[0].Holds), moves(&left, Uniform(&left)))
		}
	})
}

// moves counts the partitions that a member has and did not hold.
func moves(g *Group, result [][]Partitions) (n int) {
	for i, held := range result {
		had := map[[2]int32]bool{}
		for _, h := range g.Members[i].Holds {
			for _, p := range h.Partitions {
				had[[2]int32{h.Topic, p}] = true
			}
		}
		for _, h := range held {
			for _, p := range h.Partitions {
				if !had[[2]int32{h.Topic, p}] {
					n++
				}
			}
		}
	}
	return n
}

func bigGroup(members, topics, partitions int) *Group {
	g := &Group{Subscriptions: [][]int32{nil}}
	for topic := range topics {
		g.Partitions = append(g.Partitions, int32(partitions))
		g.Subscriptions[0] = append(g.Subscriptions[0], int32(topic))
	}
	for m := range members {
		g.Members = append(g.Members, Member{ID: fmt.Sprintf("member-%06d", m)})
	}
	return g
}

// Half of the members subscribe to half of the topics only.
func mixedGroup(members, topics, partitions int) *Group {
	g := bigGroup(members, topics, partitions)
	g.Subscriptions = append(g.Subscriptions, g.Subscriptions[0][:topics/2])
	for m := range g.Members {
		g.Members[m].Subscription = m % 2
	}
	return g
}

func BenchmarkAssign(b *testing.B) {
	for _, bench := range []struct {
		name   string
		group  *Group
		assign Assignor
	}{
		{"uniform/100x100", bigGroup(2000, 100, 100), Uniform},
		{"uniform/1000x10", bigGroup(2000, 1000, 10), Uniform},
		{"uniform/mixed", mixedGroup(2000, 100, 100), Uniform},
		{"range/1000x10", bigGroup(2000, 1000, 10), Range},
	} {
		b.Run(bench.name+"/first", func(b *testing.B) {
			for b.Loop() {
				bench.assign(bench.group)
			}
		})
		held := holding(bench.group, bench.assign(bench.group))
		held.Members = held.Members[:len(held.Members)-1]
		b.Run(bench.name+"/one-left", func(b *testing.B) {
			for b.Loop() {
				bench.assign(held)
			}
		})
	}
}
