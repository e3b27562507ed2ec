# Completes ssmpipe, and machine names for ssh, scp, sftp and rsync, in bash 3.2
# and later. In ~/.bashrc:
#
#     source <(ssmpipe completion bash)

# _ssmpipe_lines splits a text into lines, in the array _ssmpipe_answer.
_ssmpipe_lines() {
    local IFS=$'\n' options=$-
    set -f
    _ssmpipe_answer=($1)
    [[ $options == *f* ]] || set +f
}

# _ssmpipe_ask asks ssmpipe for candidates. They are quoted already, and "/" among
# them means files.
_ssmpipe_ask() {
    _ssmpipe_lines "$(command ssmpipe complete bash "${COMP_LINE:0:COMP_POINT}" "$1" 2>/dev/null)"
}

# _ssmpipe_unspaced suppresses the space after a single candidate that is open.
_ssmpipe_unspaced() {
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace 2>/dev/null
    return 0
}

_ssmpipe() {
    local _ssmpipe_answer last
    _ssmpipe_ask "$2"
    COMPREPLY=(${_ssmpipe_answer[@]+"${_ssmpipe_answer[@]}"})
    last=$((${#COMPREPLY[@]} - 1))
    if [[ $last -ge 0 && ${COMPREPLY[last]} == / ]]; then
        unset 'COMPREPLY[last]'
        _ssmpipe_lines "$(compgen -f -- "$2")"
        COMPREPLY+=(${_ssmpipe_answer[@]+"${_ssmpipe_answer[@]}"})
        compopt -o filenames 2>/dev/null
    fi
    _ssmpipe_unspaced
}
complete -F _ssmpipe ssmpipe

# _ssmpipe_wrap replaces a command's completion with _ssmpipe_hosts, and saves the
# original: a function's name in _ssmpipe_function_COMMAND, or otherwise the
# arguments of compgen in _ssmpipe_actions_COMMAND.
_ssmpipe_wrap() {
    local spec function= i
    local -a words options=() actions=()
    spec=$(complete -p "$1" 2>/dev/null)
    [[ $spec != *' _ssmpipe_hosts '* ]] || return 1
    eval "words=($spec)" # bash has quoted it
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        case ${words[i]} in
            -o) options+=(-o "${words[++i]}") ;;
            -F) function=${words[++i]} ;;
            *) actions+=("${words[i]}") ;;
        esac
    done
    eval "_ssmpipe_function_$1=\$function _ssmpipe_actions_$1=(\${actions[@]+\"\${actions[@]}\"})"
    [[ -n $spec ]] || options=(-o bashdefault -o default)
    complete ${options[@]+"${options[@]}"} -F _ssmpipe_hosts "$1"
}

# _ssmpipe_load loads a completion that is loaded when it is first needed.
_ssmpipe_load() {
    local spec=$(complete -p -D 2>/dev/null) loader
    [[ $spec == *' -F '* ]] || return 1
    loader=${spec##* -F }
    loader=${loader%% *}
    "$loader" "$@"
    [[ $? -eq 124 ]] && _ssmpipe_wrap_all "$1"
}

# _ssmpipe_wrap_all wraps all commands, because some are completed by the same
# file, and returns whether the given one was among them.
_ssmpipe_wrap_all() {
    local command status=1
    for command in ssh scp sftp rsync; do
        _ssmpipe_wrap "$command" && [[ $command == "$1" ]] && status=0
    done
    return $status
}

# _ssmpipe_hosts adds machines to the results of a command's own completion.
_ssmpipe_hosts() {
    local command=${1##*/} function actions own=1 file
    local _ssmpipe_answer
    function=_ssmpipe_function_$command
    function=${!function}
    actions=_ssmpipe_actions_$command[@]
    COMPREPLY=()
    if [[ -n $function ]]; then
        "$function" "$@"
        # The function may have replaced itself.
        [[ $? -eq 124 ]] && _ssmpipe_wrap_all "$command" && return 124
    elif [[ -n ${!actions} ]]; then
        _ssmpipe_lines "$(compgen "${!actions}" -- "$2" 2>/dev/null)"
        COMPREPLY=(${_ssmpipe_answer[@]+"${_ssmpipe_answer[@]}"})
    else
        _ssmpipe_load "$command" "$2" "$3" && return 124 # bash starts over
        own=
    fi
    if [[ -z $own && $command != ssh && $command != sftp ]]; then
        # Otherwise bash would add files.
        _ssmpipe_lines "$(compgen -f -- "$2")"
        compopt -o nospace 2>/dev/null
        for file in ${_ssmpipe_answer[@]+"${_ssmpipe_answer[@]}"}; do
            [[ -d $file ]] && own=/ || own=' '
            printf -v file %q "$file"
            COMPREPLY+=("$file$own")
        done
    fi
    _ssmpipe_ask "$2"
    COMPREPLY+=(${_ssmpipe_answer[@]+"${_ssmpipe_answer[@]}"})
    _ssmpipe_unspaced
}

# Load bash-completion's functions for ssh, scp and sftp now, so that no other
# command's completion loads them later and replaces these.
_ssmpipe_wrap_all ssh
_ssmpipe_load ssh '' '' >/dev/null 2>&1
