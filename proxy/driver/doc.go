// Package driver defines the seam between what ssmpipe does on every cloud and
// what one cloud's service does. It has interfaces and the values that cross
// them, as database/sql/driver has: package machine is the portable side,
// package aws a driver.
//
// It may use stream, keys and nothing else of this module. Begin with [Driver]
// and [Service], which every cloud has; what only some clouds can do are
// interfaces of their own, in optional.go, which a Service may implement.
package driver
