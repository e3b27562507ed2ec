// Package awstest answers AWS's APIs in process, for tests and the demo: EC2,
// ECS, STS, KMS, EC2 Instance Connect and, of Systems Manager, the inventory,
// sessions, commands and the account's preferences. A [Server] adds them to an
// [ssmtest.Server], at the same address and with the same credentials; the
// sessions themselves, the agents and their faults are that package's.
//
// It uses ssmtest and nothing of the SDK's. Begin reading with server.go, then
// api.go, which lists the services; each operation has a file named for it.
package awstest
