// Ssmpipe reaches private machines through AWS Systems Manager Session
// Manager: ssh starts it as its ProxyCommand.
package main

import (
	"os"

	"github.com/ssmpipe/ssmpipe/proxy/command"
)

func main() {
	os.Exit(command.Main(os.Args))
}
