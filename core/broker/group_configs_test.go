package broker

import (
	"strings"
	"testing"

	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestGroupConfigs(t *testing.T) {
	r := newRig(t, "group.consumer.max.heartbeat.interval.ms=50000")
	group := kmsg.ConfigResourceTypeGroupConfig
	for _, c := range []struct {
		key, value string
		code       int16
	}{
		{"consumer.session.timeout.ms", "50000", wire.None},
		{"consumer.session.timeout.ms", "1000", wire.InvalidConfig},
		{"consumer.session.timeout.ms", "60001", wire.InvalidConfig},
		{"consumer.session.timeout.ms", "x", wire.InvalidConfig},
		{"consumer.heartbeat.interval.ms", "6000", wire.None},
		{"consumer.heartbeat.interval.ms", "4999", wire.InvalidConfig},
		{"consumer.heartbeat.interval.ms", "50000", wire.InvalidConfig}, // not less than the session timeout (KAFKA-17618)
		{"no.such", "1", wire.InvalidConfig},
	} {
		if got := incremental(r, group, "g", change(c.key, kmsg.IncrementalAlterConfigOpSet, c.value)); got != c.code {
			t.Errorf("%s=%s: code %d, not %d", c.key, c.value, got, c.code)
		}
	}
	if got := incremental(r, group, "", change("consumer.session.timeout.ms", kmsg.IncrementalAlterConfigOpSet, "50000")); got != wire.InvalidRequest {
		t.Errorf("a group without a name: code %d", got)
	}
	// What is set stays in the metadata of the cluster for good.
	set := change("consumer.session.timeout.ms", kmsg.IncrementalAlterConfigOpSet, "50000")
	if got := incremental(r, group, strings.Repeat("g", configuredGroupBytesMax), set); got != wire.None {
		t.Errorf("a group with a long name: code %d", got)
	}
	if got := incremental(r, group, strings.Repeat("g", configuredGroupBytesMax+1), set); got != wire.InvalidRequest {
		t.Errorf("a group with a name that is too long: code %d", got)
	}
	if got := incremental(r, group, "g", change("consumer.session.timeout.ms", kmsg.IncrementalAlterConfigOpSet, strings.Repeat("0", 60)+"50000")); got != wire.InvalidConfig {
		t.Errorf("a long number: code %d", got)
	}
	out := describeConfig(r, group, "g")
	if e := configOf(t, out, "consumer.session.timeout.ms"); *e.Value != "50000" || e.Source != 8 || len(e.ConfigSynonyms) != 2 {
		t.Errorf("described as %+v", e)
	}
	if e := configOf(t, describeConfig(r, group, "other"), "consumer.session.timeout.ms"); *e.Value != "45000" || e.Source != 5 {
		t.Errorf("another group's: %+v", e)
	}
	if e := configOf(t, out, "share.session.timeout.ms"); *e.Value != "45000" {
		t.Errorf("a key without effect: %+v", e)
	}
}
