#!/bin/bash
# Makes a virtual environment with MXNet Model Server 0.4 as its image had it in summer 2018.
#   setup.sh DIRECTORY      PYTHON27 names the interpreter (default: the newest 2.7 of pyenv)
set -euo pipefail

directory=${1:?usage: setup.sh DIRECTORY}
if [ -e "$directory/.complete" ]; then
    exit 0
fi
python27=${PYTHON27:-$(compgen -G "$HOME/.pyenv/versions/2.7.*/bin/python2.7" | sort -V | tail -n 1)}
if [ ! -x "$python27" ]; then
    echo "setup.sh: there is no Python 2.7. Install one (pyenv install 2.7.18), or set PYTHON27." >&2
    exit 1
fi

rm -rf "$directory"
mkdir -p "$directory"
"$python27" -m pip install --quiet --no-warn-conflicts --target "$directory/tool" virtualenv==20.15.1
PYTHONPATH="$directory/tool" "$python27" -m virtualenv --quiet "$directory/venv"

pip="$directory/venv/bin/pip --disable-pip-version-check install --quiet"
# Without dependencies: the package pins onnx==1.1.1, which needs protoc to build, and only the
# export of ONNX models uses it. mxnet-mkl 1.2.1 is the engine of the image of that summer. Flask
# before 1.0 answers one request at a time: with its threads that engine hangs now and then.
$pip --no-deps mxnet-model-server==0.4.0
$pip mxnet-mkl==1.2.1 numpy==1.14.6 Pillow==5.1.0 psutil==5.4.5 \
    Flask==0.12.4 Werkzeug==0.14.1 Jinja2==2.10 'MarkupSafe<2' itsdangerous==0.24 'click<7' \
    flask-cors==3.0.4 jsonschema==2.6.0 boto3==1.7.30 fasteners==0.14.1 \
    gunicorn==19.8.1 gevent==1.3.0 'greenlet<1'
touch "$directory/.complete"
