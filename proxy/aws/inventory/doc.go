// Package inventory lists the machines that exist, as described by EC2 and
// Systems Manager.
//
// It may use package driver, whose machines it returns. Begin with [Service].
package inventory
