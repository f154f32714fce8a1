from stoploss.cli import main

main()
