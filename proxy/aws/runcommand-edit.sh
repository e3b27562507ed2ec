# Puts $add into ~/.ssh/authorized_keys, or takes $drop out. Runs as the user
# whose file it is, so that no link can lead it to another's. Prints what it has
# made; $made is that, later, to be taken away again.
umask 077
cd "$home" || exit
new=
if [ ! -e .ssh ]; then
	[ -n "$add" ] || exit 0
	mkdir .ssh || exit
	new=dir
fi
f=.ssh/authorized_keys
if [ -L "$f" ]; then
	f=$(readlink -f "$f") || exit
fi
if [ ! -w "${f%/*}" ] || { [ -e "$f" ] && [ ! -w "$f" ]; }; then
	echo "$home/.ssh/authorized_keys is not $user's to write" >&2
	exit 1
fi
# Several of us at once must not undo each other's work. A lock that is held for
# long is left over from one that was killed.
lock=$f.ssmpipe
tries=0
until mkdir "$lock" 2>/dev/null; do
	tries=$((tries + 1))
	[ "$tries" -lt 50 ] || break
	sleep 0.1 2>/dev/null || sleep 1
done
trap 'rm -rf "$lock"' EXIT
trap 'exit 1' HUP INT TERM
old=$f
if [ -e "$f" ]; then
	cp -p "$f" "$lock/new" || exit # its mode and owner
else
	[ -n "$add" ] || exit 0
	old=/dev/null
	new="$new file"
fi
end=1 # the last line has one
[ -z "$(tail -c 1 "$old")" ] || end=
export end
now=$(date +%s)
export now
# Our lines end with when they end: what a machine that was switched off
# meanwhile has kept goes, too.
awk '
	function put(line) { printf "%s%s", between, line; between = "\n" }
	BEGIN { if (ENVIRON["add"] != "") put(ENVIRON["add"]) }
	ENVIRON["drop"] != "" && $0 == ENVIRON["drop"] { next }
	$NF ~ /^ssmpipe-[0-9]+-[0-9a-f]+$/ { split($NF, f, "-"); if (f[2] + 0 < ENVIRON["now"] - 60) next }
	{ put($0) }
	END { if (between != "" && ENVIRON["end"] != "") printf "\n" }
' "$old" >"$lock/new" || exit
if [ -z "$add" ] && [ ! -s "$lock/new" ] && [ "$made" != "${made%file}" ]; then
	rm -f "$f"
	if [ "$made" != "${made#dir}" ]; then
		rm -rf "$lock"
		rmdir .ssh 2>/dev/null
	fi
	exit 0
fi
mv -f "$lock/new" "$f" || exit
if command -v restorecon >/dev/null; then
	restorecon .ssh "$f" >/dev/null 2>&1
fi
echo "$new"
