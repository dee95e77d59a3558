package main

import (
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	input := `{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: kcat is not installed\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"Action":"output","Package":"q","Output":"panic: boom\n"}
{"Action":"fail","Package":"q"}
{"Action":"skip","Package":"r"}
`
	var out strings.Builder
	tally := newTally(&out)
	tally.read(strings.NewReader(input))
	tally.summary()
	text := out.String()
	for _, want := range []string{"b_test.go:1: wrong", "c_test.go:9: kcat is not installed", "panic: boom"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "noise") {
		t.Errorf("the output of a test that passed is shown:\n%s", text)
	}
	if !strings.HasSuffix(text, "1 passed, 2 failed, 1 skipped\n") {
		t.Errorf("the closing line is wrong:\n%s", text)
	}
}
