# shellcheck shell=bash
# `source activate NAME` and `conda activate NAME` in login shells, as on an instance.
export PATH=/home/ec2-user/anaconda3/bin:$PATH
conda() {
    case "${1:-}" in
        # shellcheck disable=SC1091
        activate) shift && . /home/ec2-user/anaconda3/bin/activate "$@" ;;
        # shellcheck disable=SC1091
        deactivate) . /home/ec2-user/anaconda3/bin/deactivate ;;
        *) command conda "$@" ;;
    esac
}
