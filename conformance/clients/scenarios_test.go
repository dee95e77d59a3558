package clients

import (
	"bytes"
	"errors"
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scenariosPage has the table of scenarios by client. It is the list that the programs are held to.
const scenariosPage = "../../CLIENTS.md"

var updateFlag = flag.Bool("update", false, "write the scenarios that a program ran to the table of CLIENTS.md")

// scenarioTable has, for each client, its scenarios: names like `codec/zstd`, whose first part is a row of the table.
type scenarioTable struct {
	rows, clients []string
	ran           map[string]map[string][]string // client, row, variants; a row without variants has one that is empty
}

const ranMark = "yes"

// parseTable reads the first table of the page and returns the lines before and after it, too.
func parseTable(page string) (before string, table scenarioTable, after string, err error) {
	start := strings.Index(page, "| scenario |")
	if start < 0 {
		return "", table, "", errors.New("the page has no table of scenarios")
	}
	end := start + strings.Index(page[start:]+"\n\n", "\n\n") + 1
	lines := strings.Split(strings.TrimSpace(page[start:end]), "\n")
	cells := func(line string) []string {
		var all []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			all = append(all, strings.TrimSpace(cell))
		}
		return all
	}
	table.clients, table.ran = cells(lines[0])[1:], map[string]map[string][]string{}
	for _, client := range table.clients {
		table.ran[client] = map[string][]string{}
	}
	for _, line := range lines[2:] {
		all := cells(line)
		table.rows = append(table.rows, all[0])
		for i, cell := range all[1:] {
			switch cell {
			case "":
			case ranMark:
				table.ran[table.clients[i]][all[0]] = []string{""}
			default:
				table.ran[table.clients[i]][all[0]] = strings.Split(cell, ", ")
			}
		}
	}
	return page[:start], table, page[end:], nil
}

func (s scenarioTable) String() string {
	var b strings.Builder
	b.WriteString("| scenario | " + strings.Join(s.clients, " | ") + " |\n|---|" + strings.Repeat("---|", len(s.clients)) + "\n")
	for _, row := range s.rows {
		b.WriteString("| " + row)
		for _, client := range s.clients {
			cell := strings.Join(s.ran[client][row], ", ")
			if cell == "" && len(s.ran[client][row]) > 0 {
				cell = ranMark
			}
			b.WriteString(" | " + cell)
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// names are the scenarios of the clients, as the programs print them.
func (s scenarioTable) names(clients []string) []string {
	var all []string
	for _, client := range clients {
		for row, variants := range s.ran[client] {
			for _, variant := range variants {
				all = append(all, strings.TrimSuffix(client+"/"+row+"/"+variant, "/"))
			}
		}
	}
	return all
}

// set replaces the scenarios of the clients that the names begin with.
func (s *scenarioTable) set(names []string) error {
	fresh := map[string]map[string][]string{}
	for _, name := range names {
		parts := strings.SplitN(name, "/", 3)
		if len(parts) < 2 || !slices.Contains(s.clients, parts[0]) || !slices.Contains(s.rows, parts[1]) {
			return errors.New("the table has no place for " + name)
		}
		if fresh[parts[0]] == nil {
			fresh[parts[0]] = map[string][]string{}
		}
		variant := strings.Join(parts[2:], "")
		fresh[parts[0]][parts[1]] = append(fresh[parts[0]][parts[1]], variant)
	}
	maps.Copy(s.ran, fresh)
	return nil
}

var scenarioLine = regexp.MustCompile(`(?m)^ok (\S+)`)

// checkTable compares what a program ran with the table, for the clients that the program has.
func checkTable(t *testing.T, output string) {
	var names, clients []string
	for _, match := range scenarioLine.FindAllStringSubmatch(output, -1) {
		names = append(names, match[1])
		clients = append(clients, strings.SplitN(match[1], "/", 2)[0])
	}
	slices.Sort(clients)
	page, err := os.ReadFile(scenariosPage)
	require.NoError(t, err)
	before, table, after, err := parseTable(string(page))
	require.NoError(t, err)
	if *updateFlag {
		require.NoError(t, table.set(names))
		require.NoError(t, os.WriteFile(scenariosPage, []byte(before+table.String()+after), 0o644))
	}
	require.ElementsMatch(t, table.names(slices.Compact(clients)), names, "the table in CLIENTS.md and what the program ran; -update renews the table")
}

// The table is written as it is read, and has the versions that are pinned.
func TestScenarioTable(t *testing.T) {
	page, err := os.ReadFile(scenariosPage)
	require.NoError(t, err)
	before, table, after, err := parseTable(string(page))
	require.NoError(t, err)
	require.Equal(t, string(page), before+table.String()+after)
	for file, pins := range map[string]map[string]string{
		"node/package.json":       {"@platformatic/kafka": `"@platformatic/kafka": "VERSION"`, "kafkajs": `"kafkajs": "VERSION"`},
		"python/requirements.txt": {"confluent-kafka": "confluent-kafka==VERSION\n", "kafka-python": "kafka-python==VERSION\n", "aiokafka": "aiokafka==VERSION\n"},
		"go/go.mod":               {"sarama": "github.com/IBM/sarama vVERSION\n", "kafka-go": "github.com/segmentio/kafka-go vVERSION\n"},
		"java/pom.xml":            {"kafka-clients": "<kafka.version>VERSION</kafka.version>"},
	} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for client, pin := range pins {
			found := regexp.MustCompile(regexp.QuoteMeta("| "+client+" ") + `([0-9.]+) \|`).FindSubmatch(page)
			require.NotNil(t, found, "CLIENTS.md has no version of %s", client)
			require.Contains(t, string(text), strings.Replace(pin, "VERSION", string(bytes.TrimSpace(found[1])), 1), file)
		}
	}
}
