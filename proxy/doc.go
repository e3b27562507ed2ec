// Package proxy reaches machines through AWS Systems Manager Session Manager:
// no port of theirs need be open, no network path lead to them.
//
// # Connections
//
// A [Dialer] is what a program wants. Its DialContext goes wherever one of
// net.Dialer's does (http.Transport, pgx, go-redis, ssh.NewClientConn) and
// returns a net.Conn that outlives the WebSocket under it:
//
//	var d proxy.Dialer
//	defer d.Close()
//	conn, err := d.DialContext(ctx, "tcp", "web-1:5432")
//
// Credentials, region, endpoints, HTTPS_PROXY and certificates come from where
// every AWS tool finds them. It takes ssm:StartSession on the machine and on the
// documents AWS-StartPortForwardingSession and, with Via,
// AWS-StartPortForwardingSessionToRemoteHost; ssm:ResumeSession,
// ssm:TerminateSession and ssmmessages:OpenDataChannel on the session; and for
// names ec2:DescribeInstances or ssm:DescribeInstanceInformation.
//
// # Targets
//
// A machine is called by
//
//	i-0123456789abcdef0, mi-0123456789abcdef0   its id
//	web-1                                       the tag Name
//	tag:role=db                                 another tag
//	asg:web                                     its Auto Scaling group
//	10.0.3.7, ip-10-0-3-7.ec2.internal          an address, a private DNS name
//	ecs:CLUSTER/TASK/CONTAINER                  a container, by its task
//	web-1--eu-central-1                         any of these, in that region
//
// Names that were found are remembered for five minutes in the user's cache
// directory, or that which SSMPIPE_CACHE names.
//
// # What the commands do
//
// Each command of ssmpipe is a package below this one: stdio, forward, shell,
// doctor, list, plugin, sshconfig. They take options, tell a user by their Notice
// what to know, and return errors for people to read: [Error] names the next step
// by the command's options.
package proxy
