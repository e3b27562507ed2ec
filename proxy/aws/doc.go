// Package aws is the driver for AWS: its targets, its machines and containers,
// sessions of Systems Manager, pushed keys, what its errors mean, and its checks
// for "ssmpipe doctor".
//
// It may use awsapi, which calls AWS, inventory, ssmproto and the rooms that know
// no cloud. Begin with [Driver], and with service in service.go.
package aws
