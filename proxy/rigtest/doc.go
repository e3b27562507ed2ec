// Package rigtest is what the tests of several rooms set up: a service with
// machines, a real sshd, ssmpipe in front of them as ssh or a user runs it, and
// the servers that people connect to. Only tests import it.
//
// Each package whose tests use it has a TestMain that calls [Main], which builds
// the program under test, [SSMPipe]. Where a tool is missing that a rig needs, the
// test is skipped; in CI it fails.
package rigtest
