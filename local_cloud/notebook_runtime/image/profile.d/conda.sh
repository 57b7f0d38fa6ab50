# shellcheck shell=bash
# `source activate NAME` and `conda activate NAME` in login shells, as on an instance.
export PATH=/home/ec2-user/anaconda3/bin:$PATH
conda() {
    if [ "${1:-}" = activate ]; then
        shift
        # shellcheck disable=SC1091
        . /home/ec2-user/anaconda3/bin/activate "$@"
    elif [ "${1:-}" = deactivate ]; then
        # shellcheck disable=SC1091
        . /home/ec2-user/anaconda3/bin/deactivate
    else
        command conda "$@"
    fi
}
