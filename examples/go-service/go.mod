module example.com/shortener

go 1.26

require github.com/towpath/towpath v0.1.0
