// Command weir is the broker.
//
//	weir server                 start a broker; without a file, an embedded one on 127.0.0.1:9092 with its data in ./data
//	weir recover-cluster        write a lost metadata disk anew from the object store; asks for --yes
//	weir abandon-wal            give up the log of a broker whose log disk is lost; asks first
//	weir drain --broker ID      let a broker give its partitions to the others; --wait, --cancel
//	weir cost [URL]             print what the object store costs, by purpose, from a broker's metrics
//	weir config                 print every configuration key with its effective value and where that comes from
//	weir version                print the version
//
// Configuration: flags (--set key=value) over environment (WEIR_NODE_ID for
// node.id) over --config server.properties over defaults.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	if err := rootCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "weir:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "weir",
		Short:         "A diskless, Kafka-compatible broker",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var given settingsFlags
	given.register(root)
	root.AddCommand(serverCommand(&given), recoverCommand(&given), abandonCommand(), drainCommand(), costCommand(), configCommand(&given), versionCommand())
	return root
}
