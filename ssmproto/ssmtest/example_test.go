package ssmtest_test

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/ssmpipe/ssmpipe/ssmproto/ssmtest"
)

// A command under test gets the service by its environment. Here the data
// channel is cut once, as the service does every hour.
func Example() {
	s := ssmtest.NewServer(ssmtest.Config{})
	defer s.Close()
	s.AddNode(ssmtest.Node{ID: "i-0123456789abcdef0"})
	s.CutEach(func(link int) (int64, ssmtest.Cut) {
		if link == 0 {
			return 10_000, ssmtest.CutBye
		}
		return -1, 0
	})

	cmd := exec.Command(os.Args[0], "-test.run=^$") // instead of a client
	cmd.Env = append(os.Environ(), s.Env()...)
	if err := cmd.Run(); err != nil {
		fmt.Println(err)
	}
	fmt.Println("sessions left in the account:", s.ActiveSessions())
	// Output:
	// sessions left in the account: 0
}
