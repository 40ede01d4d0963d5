// Command tropo is OpenStack in one binary. See `tropo help`.
package main

import (
	"os"

	"github.com/tropocloud/tropo/app/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
