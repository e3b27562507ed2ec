# Makes $key known to sshd for $user, for $life seconds. Runs as root.
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin
cd /
entry=$(getent passwd "$user" 2>/dev/null || awk -F: -v "u=$user" '$1 == u' /etc/passwd)
if [ -z "$entry" ]; then
	echo "there is no user $user" >&2
	exit 1
fi
IFS=: read -r _ _ uid _ _ home _ <<END
$entry
END
until=$(($(date +%s) + life))
# A line that sshd does not understand is worth nothing, so it is told the end
# only where it knows of ends in UTC. The line is taken out in any case.
version=$({ sshd -V || :; } 2>&1 | sed -n 's/.*OpenSSH_\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
options=
set -- $version 0 0
if [ "$1" -gt 9 ] || { [ "$1" -eq 9 ] && [ "$2" -ge 2 ]; }; then
	at=$(date -u -d "@$until" +%Y%m%d%H%M%SZ 2>/dev/null) && options="expiry-time=\"$at\" "
fi
add="$options$key ssmpipe-$until-$id"
drop=
made=
as_user='as_user() {
	if [ "$(id -u)" = "$uid" ]; then
		sh -c "$edit"
	elif command -v runuser >/dev/null; then
		runuser -u "$user" -- sh -c "$edit"
	else
		su -s /bin/sh -c "$edit" "$user"
	fi
}'
eval "$as_user"
export PATH user uid home edit add drop made
made=$(as_user) || exit
# It outlives this command, with nothing of it that somebody waits for.
drop=$add
add=
away=$(command -v setsid)
nohup $away sh -c "$as_user
sleep $life
as_user" </dev/null >/dev/null 2>&1 &
