package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weir/core/config"
)

// settingsFlags are the flags that every verb takes.
type settingsFlags struct {
	file string
	sets []string
}

func (f *settingsFlags) register(root *cobra.Command) {
	root.PersistentFlags().StringVar(&f.file, "config", "", "a server.properties file, with Kafka's key names")
	root.PersistentFlags().StringArrayVar(&f.sets, "set", nil, "key=value, over file and environment; may be repeated")
}

// load resolves file, environment and flags.
func (f *settingsFlags) load() (*config.Settings, error) {
	var file []byte
	if f.file != "" {
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, err
		}
		file = text
	}
	var flags []config.Override
	for _, set := range f.sets {
		key, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, fmt.Errorf("--set %s: must be key=value", set)
		}
		flags = append(flags, config.Override{Key: strings.TrimSpace(key), Value: value})
	}
	settings, err := config.Load(file, environment(), flags)
	if err != nil && f.file != "" {
		return nil, fmt.Errorf("configuration (%s, environment and flags): %w", f.file, err)
	}
	return settings, err
}

func environment() map[string]string {
	variables := map[string]string{}
	for _, pair := range os.Environ() {
		if name, value, ok := strings.Cut(pair, "="); ok && strings.HasPrefix(name, "WEIR_") {
			variables[name] = value
		}
	}
	return variables
}

func configCommand(given *settingsFlags) *cobra.Command {
	var docs bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Print every configuration key with its effective value and its source",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := given.load()
			if err != nil {
				return err
			}
			return printSettings(c.OutOrStdout(), settings, docs)
		},
	}
	c.Flags().BoolVar(&docs, "docs", false, "print what each key means, too")
	return c
}

func printSettings(w io.Writer, settings *config.Settings, docs bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range settings.DescribeBroker() {
		value := "(unset)"
		switch {
		case e.Sensitive():
			value = "[hidden]"
		case e.Value != nil:
			value = *e.Value
		}
		if docs {
			fmt.Fprintf(table, "# %s\n", e.Doc)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", e.Key, value, e.Origin)
	}
	for _, key := range settings.Unknown() {
		fmt.Fprintf(table, "%s\t\tunknown, ignored\n", key)
	}
	return table.Flush()
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), version()) },
	}
}

// version is what the build knows of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			text += " " + s.Value
		}
	}
	return text + " " + info.GoVersion
}
