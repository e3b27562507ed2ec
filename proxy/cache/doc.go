// Package cache keeps recent answers of a cloud's service in files, for the user
// who runs this process.
//
// It may use private and regular. Begin with [Cache].
package cache
