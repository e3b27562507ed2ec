// Package ssmtest implements Session Manager's data channel in process, to test
// its clients, as net/http/httptest does for net/http: the service
// (StartSession, ResumeSession, TerminateSession and the WebSocket, with
// signatures checked), agents that behave like amazon-ssm-agent 3.3 message by
// message, and faults on demand. It has none of AWS's other APIs:
// proxy/aws/awstest adds them with SetAPI.
//
// It shares only the message codec with ssmproto, so that a mistake in one does
// not hide the same mistake in the other. Start reading with server.go, then
// session.go, which shows the path of the bytes; faults are in faults.go, and
// the agent is in package agent.
package ssmtest
