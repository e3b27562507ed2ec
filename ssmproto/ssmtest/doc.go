// Package ssmtest is Session Manager's data channel in process, to test clients
// of it, as net/http/httptest is for net/http: the service (StartSession,
// ResumeSession, TerminateSession and the WebSocket, signatures checked), agents
// that behave like amazon-ssm-agent 3.3 message by message, and faults on demand.
// Nothing of AWS's other APIs is here: proxy/aws/awstest adds them with SetAPI.
//
// It shares only the message codec with ssmproto, so that a mistake in one does
// not hide the same mistake in the other. Begin reading with server.go, then
// session.go, which shows the way that bytes take; faults are in faults.go, and
// what an agent does is in package agent.
package ssmtest
