// Package ssmtest is a Session Manager service, its relay and its agents, in
// process, to test clients of the data channel against, as net/http/httptest
// is for net/http.
//
// A [Server] answers what a client of Session Manager calls of AWS's API, all
// services at one address, signatures checked, and the WebSockets of the data
// channel:
//
//	ssm   StartSession, ResumeSession, TerminateSession, DescribeSessions,
//	      DescribeInstanceInformation, SendCommand, GetCommandInvocation, GetDocument
//	ec2   DescribeInstances, DescribeRegions, StartInstances
//	ecs   ListClusters, ListTasks, DescribeTasks, ExecuteCommand
//	kms   GenerateDataKey
//	sts   GetCallerIdentity
//	ec2-instance-connect   SendSSHPublicKey
//
// It listens on loopback only, its credentials are random unless Config names
// some, and it answers no browser, since programs on its nodes run as the user
// who started it. Who calls is a user named example; what others have started is planted with
// PlantSession. Keys that were pushed are for a test's own sshd to ask for:
// PublicKeys, OnPublicKeys.
//
// A [Node] is a managed instance, as these services tell of it, and a [Task] one
// of ECS's, with a node in each of its containers; the agent on a node
// behaves, message by message and timer by timer, as amazon-ssm-agent 3.3 does,
// its faults included: it carries ssh sessions and port-forwarding ones, with
// many connections or, as old agents do, one; and it runs shells and commands
// (Node.Command), in a terminal or with their outputs apart or together, and
// encrypts these if Config.Preferences name a key. What can go wrong between a client
// and a node can be made to go wrong: see Cut, CutEach, BlackHole, Offline,
// SetPath, SetAgentPath, OnAPI, Deny, DenyActions, SetClock, OnUpgrade,
// StallAgent, KillAgents, Reboot and ExpireSessions.
//
// The bytes of a session take this way, and each stage is one file:
//
//	client ── socket ── pipe (up) ─── session ── pipe (up) ─── agent ── port, program
//	       └─ socket ── pipe (down) ─ session ── pipe (down) ─┘
//
// The pipes on the left are the socket's and end with it, as SetPath makes
// them; those on the right are the session's, as SetAgentPath makes them.
//
// The stream logic here is written from the agent's behaviour alone and shares
// nothing with a client but the message codec, so that a mistake in one does
// not hide the same mistake in the other.
package ssmtest
