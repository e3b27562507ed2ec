// Package doctor tries, step by step, what a session needs, and says what is wrong
// and what helps.
//
// It may use machine, awsapi and the rooms that know no cloud. Begin with [Run],
// where the checks stand in their order.
package doctor
