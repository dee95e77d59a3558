package main

import (
	"fmt"
	"slices"
	"strings"

	"weir/conformance/cases"
	"weir/conformance/suite"
	"weir/core/wire"
)

// apisPage is the content of APIS.md.
func apisPage() string {
	each, total := suite.Count(cases.All())
	var page strings.Builder
	page.WriteString(`# APIs

Written by ` + "`make apis`" + `: the versions that weir serves, beside those of Apache Kafka 4.4 on a client listener, and how many cases of
the conformance suite test each API. A case is one fact in one version; most of them pass through several APIs and are counted
once.

| key | API | weir | Kafka 4.4 | cases |
| --: | --- | --- | --- | --: |
`)
	for _, key := range sortedKeys(suite.KafkaVersions) {
		own := "-"
		if a := wire.FindAPI(key); a != nil {
			own = span(a.AdvertisedMin, a.Max)
		}
		kafka, name := suite.KafkaVersions[key], suite.APIName(key)
		fmt.Fprintf(&page, "| %d | %s | %s | %s | %s |\n", key, name, own, span(kafka.Min, kafka.Max), count(each[name]))
		delete(each, name)
	}
	page.WriteString("\nCases that belong to no single API:\n\n| subject | cases |\n| --- | --: |\n")
	for _, area := range sortedKeys(each) {
		fmt.Fprintf(&page, "| %s | %d |\n", area, each[area])
	}
	fmt.Fprintf(&page, "\n%d cases in all.\n", total)
	return page.String()
}

func sortedKeys[K int16 | string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func span(low, high int16) string {
	if low == high {
		return fmt.Sprint(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}
